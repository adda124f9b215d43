import { type DynamicModule, Module, type Provider } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { Database } from '../database/database.js';
import { TaskExecutor } from '../execution/task-executor.js';
import { type Hosted, unlessHosted } from '../hosted.js';
import { DrainState } from '../http/drain-state.js';
import { Log } from '../observability/log.js';
import { AttachmentStore } from '../uploads/attachment-store.js';
import { AttachmentsReadinessProbe } from './attachments-readiness-probe.js';
import { CompositeReadinessProbe } from './composite-readiness-probe.js';
import { ExecutorReadinessProbe } from './executor-readiness-probe.js';
import { HealthController } from './health.controller.js';
import { PostgresReadinessProbe } from './postgres-readiness-probe.js';
import { ReadinessProbe } from './readiness-probe.js';
import { RedisReadinessProbe } from './redis-readiness-probe.js';
import { ServiceReadiness } from './service-readiness.js';

export interface HealthOptions {
  /** Absent: there is no Redis to wait for. */
  readonly redisUrl?: string | undefined;
  /** `degraded`: a lost Redis is shown, and the replica stays ready. */
  readonly readinessRedis: 'required' | 'degraded';
  /** Whether attachments are on another machine, so that they need a probe. Defaults to no. */
  readonly remoteAttachments?: boolean;
  readonly hosted: Hosted;
}

/** `/health` and `/ready`, and the state of the drain. */
@Module({})
export class HealthModule {
  static register(options: HealthOptions): DynamicModule {
    return {
      module: HealthModule,
      global: true,
      // Its error log would have a line for each question to a replica that is not ready. The service logs changes instead.
      imports: [TerminusModule.forRoot({ logger: false })],
      controllers: [HealthController],
      providers: [DrainState, ServiceReadiness, ...defaultProbe(options)],
      exports: [DrainState],
    };
  }
}

/** The probe of Redis is a provider of its own, so that Nest closes its connection. */
function defaultProbe({ redisUrl, readinessRedis, remoteAttachments, hosted }: HealthOptions): Provider[] {
  const redisProbe =
    redisUrl === undefined
      ? []
      : [{ provide: RedisReadinessProbe, useFactory: () => new RedisReadinessProbe(redisUrl) }];
  return unlessHosted(hosted, ...redisProbe, {
    provide: ReadinessProbe,
    useFactory: (
      log: Log,
      database: Database,
      executor: TaskExecutor,
      attachments: AttachmentStore,
      redis?: RedisReadinessProbe,
    ) =>
      new CompositeReadinessProbe(
        {
          postgres: new PostgresReadinessProbe(database),
          ...(redis && { redis }),
          executor: new ExecutorReadinessProbe(executor),
          ...(remoteAttachments && { attachments: new AttachmentsReadinessProbe(attachments) }),
        },
        { degraded: readinessRedis === 'degraded' ? ['redis'] : [], log },
      ),
    inject: [Log, Database, TaskExecutor, AttachmentStore, ...redisProbe.map(({ provide }) => provide)],
  });
}
