import { type DynamicModule, Module, type Provider } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { Database } from '../database/database.js';
import { TaskExecutor } from '../tasks/ports/task-executor.js';
import { type Hosted, unlessHosted } from '../hosted.js';
import { Log } from '../observability/log.js';
import { AttachmentStore } from '../uploads/attachment-store.js';
import {
  AttachmentsReadinessProbe,
  ExecutorReadinessProbe,
  PostgresReadinessProbe,
  RedisReadinessProbe,
} from './probes.js';
import { CompositeReadinessProbe } from './composite-readiness-probe.js';
import type { HealthConfig } from './health.config.js';
import { HealthController } from './health.controller.js';
import { ReadinessProbe } from './readiness-probe.js';
import { ServiceReadiness } from './service-readiness.js';

export interface HealthOptions extends HealthConfig {
  /** Absent: there is no Redis to wait for. */
  readonly redisUrl?: string | undefined;
  /**
   * How the attachment store is part of readiness. `required`: this replica may have lost it alone, and another one not.
   * `shown`: a full disk is nothing that another replica could mend. Absent: there is none of the service's own.
   */
  readonly readinessAttachments?: 'required' | 'shown' | undefined;
  readonly hosted: Hosted;
}

/** `/health` and `/ready`, and the probes behind them. */
@Module({})
export class HealthModule {
  static register(options: HealthOptions): DynamicModule {
    const parts = probesOf(options);
    return {
      module: HealthModule,
      global: true,
      // Its error log would have a line for each question to a replica that is not ready. The service logs changes instead.
      imports: [TerminusModule.forRoot({ logger: false })],
      controllers: [HealthController],
      providers: [ServiceReadiness, ...parts, ...defaultProbe(options)],
      exports: [ServiceReadiness, ...parts.map(({ provide }) => provide)],
    };
  }
}

/** Each is a provider, so a host can compose them, and Nest closes their connections. */
function probesOf({ redisUrl }: HealthOptions) {
  const redis =
    redisUrl === undefined
      ? []
      : [{ provide: RedisReadinessProbe, useFactory: () => new RedisReadinessProbe(redisUrl), inject: [] }];
  return [
    {
      provide: PostgresReadinessProbe,
      useFactory: (database: Database) => new PostgresReadinessProbe(database),
      inject: [Database],
    },
    ...redis,
    {
      provide: ExecutorReadinessProbe,
      useFactory: (executor: TaskExecutor) => new ExecutorReadinessProbe(executor),
      inject: [TaskExecutor],
    },
    {
      provide: AttachmentsReadinessProbe,
      useFactory: (store: AttachmentStore) => new AttachmentsReadinessProbe(store),
      inject: [AttachmentStore],
    },
  ];
}

function defaultProbe({ readinessRedis, readinessAttachments: part, hosted }: HealthOptions): Provider[] {
  return unlessHosted(hosted, {
    provide: ReadinessProbe,
    useFactory: (
      log: Log,
      postgres: PostgresReadinessProbe,
      executor: ExecutorReadinessProbe,
      attachments: AttachmentsReadinessProbe,
      redis?: RedisReadinessProbe,
    ) =>
      new CompositeReadinessProbe(
        { postgres, ...(redis && { redis }), executor, ...(part && { attachments }) },
        {
          degraded: [...(readinessRedis === 'degraded' ? ['redis'] : []), ...(part === 'shown' ? ['attachments'] : [])],
          log,
        },
      ),
    inject: [
      Log,
      PostgresReadinessProbe,
      ExecutorReadinessProbe,
      AttachmentsReadinessProbe,
      { token: RedisReadinessProbe, optional: true },
    ],
  });
}
