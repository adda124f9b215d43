import { existsSync, globSync, readFileSync } from 'node:fs';
import { Server as HttpServer } from 'node:http';
import { Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import { ModulesContainer } from '@nestjs/core';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { register } from 'prom-client';
import { arrowsOfSrc, withDirections } from '../../.ci/directions.js';
import { createApplication } from '../../src/boot/application.js';
import { OpsServer } from '../../src/boot/ops-server.js';
import { Port } from '../../src/boot/port.js';
import { runnersOf } from '../../src/boot/runners.js';
import { readConfig } from '../../src/boot/config.js';
import { serve } from '../../src/boot/serve.js';
import { Database } from '../../src/database/database.js';
import { createPool } from '../../src/database/pool.js';
import { Hub } from '../../src/following/hub.js';
import { InProcessLiveLog } from '../../src/live-log/in-process-live-log.js';
import { InlineWorker } from '../../src/execution/inline/inline-worker.js';
import { Reaper } from '../../src/execution/reaper.js';
import { BulkClock } from '../../src/bulk/bulk-clock.js';
import { ScheduleClock } from '../../src/schedules/schedule-clock.js';
import { WaitingClaims } from '../../src/execution/waiting-claims.js';
import { createLogger } from '../../src/observability/log.js';
import { ChangesHub } from '../../src/following/changes/changes-hub.js';
import { RevocationWatch } from '../../src/follow-tokens/revocation-watch.js';
import { LiveReplicas } from '../../src/replicas/live-replicas.js';
import { TaskPolicies } from '../../src/tasks/task-policies.js';
import { EndStreams } from '../../src/system/end-streams.js';
import { Numbers } from '../../src/system/numbers.js';
import { UploadSweeper } from '../../src/uploads/upload-sweeper.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { temporaryDirectory } from '../support/service.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const page = readFileSync(`${root}docs/architecture.md`, 'utf8');

/** The cells of the table that begins with this head. */
function tableOf(head: string): string[][] {
  const [, rest = ''] = page.split(`| ${head} |`);
  const rows = rest.split('\n').slice(2);
  return rows.slice(0, rows.indexOf('')).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replace(/^`(.*)`$/, '$1')),
  );
}

/** What runs on its own, under the names of the page. */
const RUNNERS = {
  LiveLog: InProcessLiveLog,
  Hub,
  LiveReplicas,
  ChangesHub,
  RevocationWatch,
  TaskPolicies,
  Reaper,
  ScheduleClock,
  BulkClock,
  UploadSweeper,
  EndStreams,
  Numbers,
  WaitingClaims,
  InlineWorker,
};

describe('docs/architecture.md', () => {
  let test: TestDatabase;
  let config: ReturnType<typeof readConfig>;
  const open: Database[] = [];

  beforeAll(async () => {
    test = await createTestDatabase();
    config = readConfig({
      DATABASE_URL: test.appUrl,
      DATA_DIR: await temporaryDirectory(),
      LOG_LEVEL: 'silent',
      PORT: '0',
      OPS_PORT: '0',
      DRAIN_DELAY_SECONDS: '0',
    });
  });

  afterAll(async () => {
    jest.restoreAllMocks();
    for (const database of open) await database.stop();
    await test.drop();
  });

  function connected(): Database {
    const database = new Database(createPool(test.appUrl, { max: 2 }));
    open.push(database);
    return database;
  }

  it('has the tables of directions that `npm run generate` makes of the imports', () => {
    expect(page).toBe(withDirections(page, arrowsOfSrc()));
    expect(tableOf('part | imports').length).toBeGreaterThan(10);
  });

  it('names no file that is not there', () => {
    const sources = globSync('{src,packages}/**/*.ts', { cwd: root, exclude: ['**/node_modules/**'] });
    const named = [...page.matchAll(/`([\w./-]+\.(?:ts|md|cjs))`/g)].map(([, path]) => path ?? '');
    expect(named.length).toBeGreaterThan(100);
    const missing = named.filter(
      (path) => !existsSync(root + path) && !sources.some((file) => `/${file}`.endsWith(`/${path}`)),
    );
    expect(missing).toEqual([]);
  });

  it('names files so that a reader finds the one that is meant', () => {
    const sources = globSync('{src,packages}/**/*.ts', { cwd: root, exclude: ['**/node_modules/**', '**/dist/**'] });
    const named = new Set([...page.matchAll(/`([\w./-]+\.ts)`/g)].map(([, path]) => path ?? ''));
    const isMeant = (file: string, path: string) => `/${file}`.endsWith(`/${path}`);
    const ambiguous = [...named].filter(
      (path) => !sources.includes(path) && sources.filter((file) => isMeant(file, path)).length > 1,
    );
    expect(ambiguous).toEqual([]);
  });

  describe('of an application', () => {
    let app: NestExpressApplication;

    beforeAll(async () => {
      const host = { modules: [], hosted: new Set<never>() };
      const logger = createLogger(config.observability);
      app = await createApplication({ config, database: connected(), logger, host });
    });

    afterAll(async () => {
      await app.close();
      // A process has one application and one registry; the next one registers the same metrics.
      register.clear();
    });

    it('has its middlewares, in the order in which a request passes them', () => {
      type Layer = { readonly name: string; readonly route?: object };
      const { router } = app.getHttpAdapter().getInstance() as unknown as {
        readonly router: { readonly stack: readonly Layer[] };
      };
      const names = router.stack
        .slice(
          0,
          router.stack.findIndex(({ route }) => route !== undefined),
        )
        .map(({ name }) => name);
      // The first is Nest's own.
      expect(names).toEqual(['<anonymous>', ...tableOf('middleware | what it does | where').map(([name]) => name)]);
    });

    it('has every part that can be started, and the list that starts and stops it', () => {
      const instances = [...app.get(ModulesContainer).values()].flatMap(({ providers }) =>
        [...providers.values()].map(({ instance }) => instance as unknown),
      );
      const runs = (part: unknown): part is { readonly constructor: { readonly name: string } } =>
        typeof part === 'object' && part !== null && 'start' in part;
      const running = instances.filter(runs);
      expect(new Set(running.map(({ constructor }) => constructor))).toEqual(new Set(Object.values(RUNNERS)));
      const list: readonly unknown[] = runnersOf(app, new Port(app, config), new OpsServer(app, config));
      const forgotten = running.filter((part) => !list.includes(part) || !('stop' in part));
      expect(forgotten.map(({ constructor }) => constructor.name)).toEqual([]);
    });
  });

  it('has the order in which parts start, and stop', async () => {
    const order = { start: new Map<number, string>(), stop: new Map<number, string>() };
    const spies = Object.entries(RUNNERS).map(([name, { prototype }]) => ({
      name,
      start: jest.spyOn(prototype, 'start'),
      stop: jest.spyOn(prototype, 'stop'),
    }));
    const listens = jest.spyOn(Server.prototype, 'listen');
    const closes = jest.spyOn(HttpServer.prototype, 'close');

    const serving = await serve({
      config,
      database: connected(),
      logger: createLogger(config.observability),
      isAlone: false,
      crash: (error) => {
        throw error;
      },
    });
    const ports = { [serving.opsUrl ?? '']: 'OPS_PORT', [serving.url]: 'PORT' };
    const portOf = new Map(
      listens.mock.contexts.map((server) => {
        const { port } = (server as Server).address() as { port: number };
        return [server, Object.entries(ports).find(([url]) => url.endsWith(`:${port}`))?.[1] ?? ''] as const;
      }),
    );
    await serving.drain();

    const first = ([call]: readonly number[]) => {
      if (call === undefined) throw new Error('a part of the page was not started, or not stopped');
      return call;
    };
    for (const { name, start, stop } of spies) {
      order.start.set(first(start.mock.invocationCallOrder), name);
      order.stop.set(first(stop.mock.invocationCallOrder), name);
    }
    for (const [n, server] of listens.mock.contexts.entries()) {
      order.start.set(listens.mock.invocationCallOrder[n] ?? Number.NaN, portOf.get(server) ?? '');
    }
    // Nest closes the server of PORT once more, last.
    for (const [n, server] of [...closes.mock.contexts.entries()].reverse()) {
      const name = portOf.get(server as Server) ?? '';
      for (const [at, known] of order.stop) if (known === name) order.stop.delete(at);
      order.stop.set(closes.mock.invocationCallOrder[n] ?? Number.NaN, name);
    }

    const inOrder = (calls: ReadonlyMap<number, string>) =>
      [...calls].sort(([a], [b]) => a - b).map(([, name]) => name);
    const rows = tableOf('part | starts as | stops as | what it does');
    const byColumn = (column: number) =>
      [...rows].sort((a, b) => Number(a[column]) - Number(b[column])).map(([name]) => name);
    expect(inOrder(order.start)).toEqual(byColumn(1));
    expect(inOrder(order.stop)).toEqual(byColumn(2));
  });
});
