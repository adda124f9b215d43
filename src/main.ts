import { join } from 'node:path';
import type { Logger } from 'pino';
import { BootRefused, checkBoot } from './boot/boot-guard.js';
import { ConfigError, readConfig, type Config } from './boot/config.js';
import { welcome } from './boot/welcome.js';
import { Database } from './database/database.js';
import {
  EmbeddedPostgresError,
  startEmbeddedPostgres,
  type EmbeddedPostgres,
} from './database/embedded/embedded-postgres.js';
import { migrate } from './database/migrations/apply-migrations.js';
import { MigrationRefused } from './database/migrations/migration-refused.js';
import { createPool } from './database/pool.js';
import { currentHostCall } from './observability/host-code.js';
import { createLogger } from './observability/log.js';
import { shutdownTracing } from './observability/tracing.js';
import { logWarnings } from './observability/warnings.js';

// Config → PostgreSQL → boot guard → application → listen → drain. A refusal to start has one line for each rule, and a code
// other than 0. Nothing listens before all checks have passed.

/** The time of the exit itself, so that it fits into the grace period. */
const LAST_MS = 500;

/** In the order in which they were started; stopped in reverse. */
const started: (() => Promise<unknown>)[] = [];
let logger: Logger | undefined;
let stopping = false;
let graceMs = 0;

process.on('SIGTERM', (signal) => void stop(0, signal));
process.on('SIGINT', (signal) => void stop(0, signal));
// Node then prints it on stderr and ends the process. The log gets it, too.
process.on('uncaughtExceptionMonitor', (err) => {
  // Faults of a host's forgotten promises are contained, and logged there.
  if (currentHostCall() === undefined) logger?.error({ err }, 'service.crashed');
});
await start().catch((error: unknown) => {
  // A failure caused by the stop gets no line.
  if (stopping) return;
  for (const line of refusal(error)) console.error(line);
  return stop(1);
});

async function start(): Promise<void> {
  const config = readConfig();
  graceMs = config.boot.shutdownGraceSeconds * 1000 - LAST_MS;
  const log = createLogger(config.observability);
  logger = log;
  logWarnings(log);
  started.push(shutdownTracing);
  for (const { name, why } of config.unknownSettings ?? []) log.warn({ setting: name, text: why }, 'setting.unknown');

  const embedded = config.database.url === undefined ? await embeddedPostgres(config) : undefined;
  const databaseUrl = config.database.url ?? embedded?.appUrl ?? '';
  const onWait = (reason: string) => log.warn({ text: reason }, 'boot.waiting_for_postgres');
  const onUnfinished = (versions: readonly number[]) => log.warn({ versions }, 'schema.online_unfinished');
  await checkBoot(databaseUrl, { bootWaitSeconds: config.database.bootWaitSeconds, onWait, onUnfinished });
  if (stopping) return;
  const database = new Database(
    createPool(databaseUrl, {
      max: config.database.poolMax,
      // The embedded PostgreSQL ends after its connections, and is not waited for by them.
      onConnectionLost: (err) => {
        if (!stopping) log.warn({ err }, 'database.connection_lost');
      },
    }),
  );
  started.push(() => database.stop());
  embedded?.onExit((reason) => {
    log.error({ text: reason }, 'embedded_postgres.ended');
    void stop(1, 'embedded PostgreSQL');
  });

  // Nest is loaded only now, so refusals come at once.
  const { serve } = await import('./boot/serve.js');
  if (stopping) return;
  const serving = serve({ config, database, logger: log, isAlone: embedded !== undefined, crash });
  // A stop during the wiring waits for it, and then drains as usual. If the wiring fails, `start` reports it.
  started.push(async () => (await serving.catch(() => undefined))?.drain());
  const { url, opsUrl } = await serving;
  log.info({ url, ...(opsUrl && { ops_url: opsUrl }), environment: config.environment.name }, 'service.listening');
  if (process.stdout.isTTY) console.log(welcome(url, config));
}

/** Ends the process as Node itself does without a listener for the exception. */
function crash(error: unknown): void {
  console.error(error);
  process.exit(1);
}

async function embeddedPostgres({ database }: Config): Promise<EmbeddedPostgres> {
  const embedded = await startEmbeddedPostgres({ directory: join(database.dataDirectory, 'postgres') });
  started.push(() => embedded.stop());
  await migrate(embedded.ownerUrl);
  return embedded;
}

/** A second signal changes nothing. Work beyond the grace period is cut off. Nothing that was answered is lost. */
async function stop(code: number, reason?: string): Promise<void> {
  if (stopping) return;
  stopping = true;
  const beganAt = performance.now();
  setTimeout(() => process.exit(code), graceMs).unref();
  if (reason !== undefined) logger?.info({ reason }, 'service.stopping');
  for (const step of started.reverse()) {
    await step().catch((err: unknown) => logger?.error({ err }, 'service.stop_failed'));
  }
  if (reason !== undefined) {
    logger?.info({ duration_ms: Math.round(performance.now() - beganAt) }, 'service.stopped');
  }
  process.exit(code);
}

function refusal(error: unknown): readonly string[] {
  if (error instanceof ConfigError || error instanceof BootRefused) return error.lines;
  if (error instanceof EmbeddedPostgresError || error instanceof MigrationRefused) return [error.message];
  return [error instanceof Error ? (error.stack ?? error.message) : String(error)];
}
