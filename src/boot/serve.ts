import 'reflect-metadata';
import { Logger as HostLogger } from '@nestjs/common';
import type { Logger } from 'pino';
import type { Database } from '../database/database.js';
import { TaskExecutor } from '../tasks/ports/task-executor.js';
import { BeforeScrape } from '../observability/before-scrape.js';
import { HostFaults } from '../observability/host-faults.js';
import { ServiceReadiness } from '../health/service-readiness.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { nestLogger } from '../observability/nest-logger.js';
import { EndLostAttempts } from '../tasks/end-lost-attempts.js';
import { MeasureBacklog } from '../tasks/measure-backlog.js';
import { containHostFaults } from './contain-host-faults.js';
import { createApplication } from './application.js';
import type { Config } from './config.js';
import { loadHostModule, refusedWithHost } from './host-module.js';
import { OpsServer } from './ops-server.js';
import { Port } from './port.js';
import { runnersOf } from './runners.js';
import { weakSettings } from './weak-settings.js';

const LOCAL = 'these settings are for this machine alone: docs/operations.md, weak settings';

export interface Ground {
  readonly config: Config;
  readonly database: Database;
  readonly logger: Logger;
  /** No other process uses this database. */
  readonly isAlone: boolean;
  /** Ends the process as an uncaught exception does. */
  readonly crash: (error: unknown) => void;
}

export interface Serving {
  readonly url: string;
  /** Absent: there is one port. */
  readonly opsUrl?: string;
  drain(): Promise<void>;
}

/** Wires the application, listens, and starts what runs on its own, in this order. */
export async function serve({ config, database, logger, isAlone, crash }: Ground): Promise<Serving> {
  // What a host logs while it is loaded is in the log, too.
  HostLogger.overrideLogger(nestLogger(logger));
  const contained = config.boot.hostModule === undefined ? undefined : containHostFaults(crash);
  const host = await loadHostModule(config.boot.hostModule);
  const refused = (error: unknown): never => {
    throw refusedWithHost(host, error);
  };
  const app = await createApplication({ config, database, logger, host }).catch(refused);
  contained?.tell(app.get(HostFaults));
  const metrics = app.get(MetricsSink);
  const weak = weakSettings(config, host.hosted, app.get(TaskExecutor));
  for (const { name } of weak) metrics.set('weak_setting', 1, { name });
  // Where a person tries the service, they are as they should be.
  if (config.environment.name === 'local')
    logger.info({ settings: weak.map(({ name }) => name), text: LOCAL }, 'settings.local');
  else for (const { name, why } of weak) logger.warn({ setting: name, text: why }, 'weak_setting.found');
  app.get(BeforeScrape).add(() => app.get(MeasureBacklog).execute());
  app.get(BeforeScrape).add(() => app.get(ServiceReadiness).check());
  // No other process can hold a lease. Tasks that ran when the last process ended can continue at once.
  if (isAlone) await app.get(EndLostAttempts).endAll();
  const port = new Port(app, config);
  const ops = new OpsServer(app, config);
  const runners = runnersOf(app, port, ops);
  // A live log of the host may refuse to start.
  for (const runner of runners) await Promise.resolve(runner.start?.()).catch(refused);
  return {
    url: port.url,
    ...(ops.url !== undefined && { opsUrl: ops.url }),
    async drain() {
      for (const runner of runners.toReversed()) await runner.stop?.();
    },
  };
}
