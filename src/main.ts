import { join } from 'node:path';
import { BootRefused, checkBoot } from './boot/boot-guard.js';
import { ConfigError, readConfig, type Config } from './boot/config.js';
import { welcome } from './boot/welcome.js';
import { Database } from './database/database.js';
import { EmbeddedPostgresError, startEmbeddedPostgres, type EmbeddedPostgres } from './database/embedded-postgres.js';
import { migrate } from './database/migrate.js';
import { MigrationRefused } from './database/migration-refused.js';
import { createPool } from './database/pool.js';
import { createLogger } from './observability/log.js';
import { shutdownTracing } from './observability/tracing.js';

// Config → PostgreSQL → boot guard → application → listen → drain. What refuses to start says why, in a line a rule, and ends
// with a code that is not 0; nothing listens before everything is checked.

/** What an exit takes by itself, so that it is over inside the grace period. */
const LAST_MS = 500;

/** In the order in which they were started; stopped in reverse. */
const started: (() => Promise<void>)[] = [];
let stopping = false;
let graceMs = 0;

process.on('SIGTERM', () => void stop(0));
process.on('SIGINT', () => void stop(0));
await start().catch((error: unknown) => {
  for (const line of refusal(error)) console.error(line);
  return stop(1);
});

async function start(): Promise<void> {
  const config = readConfig();
  graceMs = config.boot.shutdownGraceSeconds * 1000 - LAST_MS;
  const logger = createLogger(config.observability);
  started.push(shutdownTracing);

  const embedded = config.database.url === undefined ? await embeddedPostgres(config) : undefined;
  const databaseUrl = config.database.url ?? embedded?.appUrl ?? '';
  const onWait = (reason: string) => logger.warn({ text: reason }, 'boot.waiting_for_postgres');
  await checkBoot(databaseUrl, { bootWaitSeconds: config.database.bootWaitSeconds, onWait });
  const database = new Database(
    createPool(databaseUrl, {
      max: config.database.poolMax,
      onConnectionLost: (err) => logger.warn({ err }, 'database.connection_lost'),
    }),
  );
  started.push(() => database.stop());
  embedded?.onExit((reason) => {
    logger.error({ text: reason }, 'embedded_postgres.ended');
    void stop(1);
  });

  // Nest is loaded only now: what is refused is refused at once.
  const { serve } = await import('./boot/serve.js');
  if (stopping) return;
  const { url, opsUrl, drain } = await serve({ config, database, logger, isAlone: embedded !== undefined });
  started.push(drain);
  logger.info({ url, ...(opsUrl && { ops_url: opsUrl }), environment: config.environment.name }, 'service.listening');
  if (process.stdout.isTTY) console.log(welcome(url, config));
}

async function embeddedPostgres({ database }: Config): Promise<EmbeddedPostgres> {
  const embedded = await startEmbeddedPostgres({ directory: join(database.dataDirectory, 'postgres') });
  started.push(() => embedded.stop());
  await migrate(embedded.ownerUrl);
  return embedded;
}

/** A second signal changes nothing; what takes longer than the grace period is cut off: nothing that was answered is lost. */
async function stop(code: number): Promise<void> {
  if (stopping) return;
  stopping = true;
  setTimeout(() => process.exit(code), graceMs).unref();
  for (const step of started.reverse()) await step().catch((error: unknown) => console.error(String(error)));
  process.exit(code);
}

function refusal(error: unknown): readonly string[] {
  if (error instanceof ConfigError || error instanceof BootRefused) return error.lines;
  if (error instanceof EmbeddedPostgresError || error instanceof MigrationRefused) return [error.message];
  return [error instanceof Error ? (error.stack ?? error.message) : String(error)];
}
