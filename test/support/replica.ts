import { randomUUID } from 'node:crypto';
import { type InjectionToken, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Registry } from 'prom-client';
import { v7 as uuidv7 } from 'uuid';
import type { TaskHandlers } from '#handler/task-handler.js';
import { AppModule } from '../../src/app.module.js';
import type { AuthContext } from '../../src/auth/auth-context.js';
import { readConfig } from '../../src/boot/config.js';
import { Database } from '../../src/database/database.js';
import { createPool } from '../../src/database/pool.js';
import type { Queryable } from '../../src/database/queryable.js';
import { Hub } from '../../src/following/hub.js';
import { LiveLog } from '../../src/tasks/ports/live-log.js';
import { InlineWorker } from '../../src/execution/inline/inline-worker.js';
import { TASK_HANDLERS } from '../../src/execution/handlers.js';
import { WaitingClaims } from '../../src/execution/waiting-claims.js';
import { createLogger } from '../../src/observability/log.js';
import { insertTask } from '../../src/tasks/store/insert-task.js';
import { logCatalogue } from './log-catalogue.js';

/** One line of the log, parsed. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly err?: { readonly type: string; readonly message: string };
}

export interface ReplicaOptions {
  /** Defaults to the in-process one. */
  readonly liveLog?: LiveLog;
  /** Run inline under their task types; there are no others. */
  readonly handlers?: TaskHandlers;
  /** Settings by their names. */
  readonly env?: Readonly<Record<string, string>>;
}

/** The application's own graph without its HTTP side, so that a test can have several replicas in one process. */
export interface Replica {
  readonly database: Database;
  readonly log: readonly LogLine[];
  get<T>(token: Type<T> | (abstract new (...args: never) => T)): T;
  /** Claims and runs tasks from now on. */
  startWorker(): void;
  /** Hands running attempts back, also those of handlers that do not obey in time. */
  stopWorker(obeyWithinMs?: number): Promise<void>;
  stop(): Promise<void>;
}

export async function createReplica(url: string, options: ReplicaOptions = {}): Promise<Replica> {
  const env = { DATABASE_URL: url, DEMO_TASKS: 'false', LOG_LEVEL: 'warn', ...options.env };
  const config = readConfig(env);
  const log: LogLine[] = [];
  const strangeLines: string[] = [];
  const write = (line: string) => {
    log.push(JSON.parse(line) as LogLine);
    const problem = logCatalogue().problemOf(line);
    if (problem !== undefined) strangeLines.push(problem);
  };
  const logger = createLogger(config.observability, { write });
  const database = new Database(createPool(url, { max: config.database.poolMax }));
  const app = await NestFactory.createApplicationContext(
    AppModule.register({ config, database, logger, host: hostOf(options), registry: new Registry() }),
    { logger: false, abortOnError: false },
  );
  const get: Replica['get'] = (token) => app.get(token, { strict: false });
  return {
    database,
    log,
    get,
    startWorker() {
      get(WaitingClaims).start();
      get(InlineWorker).start();
    },
    async stopWorker(obeyWithinMs) {
      await get(WaitingClaims).stop();
      await get(InlineWorker).stop(obeyWithinMs);
    },
    async stop() {
      await get(WaitingClaims).stop();
      await get(InlineWorker).stop();
      await get(Hub).stop();
      await get(LiveLog).stop();
      await app.close();
      await database.stop();
      if (strangeLines.length > 0) throw new Error(`a line of the log ${strangeLines.slice(0, 5).join('\n')}`);
    },
  };
}

/** The effect of a host module in a deployment. */
function hostOf({ liveLog, handlers }: ReplicaOptions) {
  const providers = [
    ...(liveLog ? [{ provide: LiveLog, useValue: liveLog }] : []),
    ...(handlers ? [{ provide: TASK_HANDLERS, useValue: handlers }] : []),
  ];
  const tokens: InjectionToken[] = providers.map(({ provide }) => provide);
  return { modules: [{ module: TestHost, global: true, providers, exports: tokens }], hosted: new Set(tokens) };
}

@Module({})
class TestHost {}

/** The owner of every task that these builders make. */
export const OWNER: AuthContext = { subject: 'owner', scopes: new Set(['tasks:read', 'tasks:write']), attributes: {} };

/** A task that waits, without a hint to any worker. Returns its id. */
export async function waitingTask(database: Queryable, taskType = 'test.any'): Promise<string> {
  const inserted = await insertTask(
    database,
    {
      taskId: uuidv7(),
      tenantId: '',
      ownerId: OWNER.subject,
      clientRequestId: randomUUID(),
      fingerprint: '',
      contentFingerprint: '',
      taskType,
      inputJson: null,
      metadataJson: null,
      correlationId: randomUUID(),
      traceparent: '',
      earliestPlace: 0,
    },
    null,
  );
  if (inserted.outcome !== 'inserted') throw new Error('the task was passed over');
  return inserted.taskId;
}
