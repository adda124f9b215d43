import { Global, Module, type DynamicModule } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_PIPE } from '@nestjs/core';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { BulkModule } from './bulk/bulk.module.js';
import { ConsoleModule } from './console/console.module.js';
import { AuthConfig } from './auth/auth.config.js';
import { AuthModule } from './auth/auth.module.js';
import type { Database } from './database/database.js';
import { DrainState } from './drain-state.js';
import { FollowTokensModule } from './follow-tokens/follow-tokens.module.js';
import { DatabaseModule } from './database/database.module.js';
import { StreamingConfig } from './streaming/streaming.config.js';
import { StreamingModule } from './streaming/streaming.module.js';
import { ExecutionConfig } from './execution/execution.config.js';
import { ExecutionModule } from './execution/execution.module.js';
import type { HealthConfig } from './health/health.config.js';
import { HealthModule } from './health/health.module.js';
import type { Hosted } from './hosted.js';
import { AcceptGuard } from './http/accept.guard.js';
import { ErrorFilter } from './http/error.filter.js';
import { HttpConfig } from './http/http.config.js';
import { UnknownQueryGuard } from './http/unknown-query.guard.js';
import { EdgeValidationPipe } from './http/validation.pipe.js';
import { LiveLogConfig } from './live-log/live-log.config.js';
import type { ObservabilityConfig } from './observability/observability.config.js';
import { ObservabilityModule } from './observability/observability.module.js';
import { OwnershipConfig } from './ownership/ownership.config.js';
import { OwnershipModule } from './ownership/ownership.module.js';
import { TasksConfig } from './tasks/tasks.config.js';
import { TasksModule } from './tasks/tasks.module.js';
import { ReplicasModule } from './replicas/replicas.module.js';
import { EffectiveSettings } from './system/effective-setting.js';
import { SystemModule } from './system/system.module.js';
import { SchedulesModule } from './schedules/schedules.module.js';
import { AttachmentStore } from './uploads/attachment-store.js';
import { UploadsConfig } from './uploads/uploads.config.js';
import { UploadsModule } from './uploads/uploads.module.js';

/** The slices of the settings that are injected, and their tokens. */
const SLICES = {
  auth: AuthConfig,
  ownership: OwnershipConfig,
  tasks: TasksConfig,
  execution: ExecutionConfig,
  liveLog: LiveLogConfig,
  streaming: StreamingConfig,
  http: HttpConfig,
  uploads: UploadsConfig,
};
type Injected = { readonly [Name in keyof typeof SLICES]: (typeof SLICES)[Name]['prototype'] };

export interface Parts {
  /** What is read of the settings. A module gets its own slice only. */
  readonly config: Injected & {
    readonly observability: ObservabilityConfig;
    readonly health: HealthConfig;
    readonly effective: EffectiveSettings;
  };
  readonly database: Database;
  readonly logger: Logger;
  /** What the host module brings: its modules, and the tokens for which it provides something. */
  readonly host: { readonly modules: readonly DynamicModule[]; readonly hosted: Hosted };
  /** Where metrics are. Defaults to the one of the process. */
  readonly registry?: Registry;
}

/** By the store of attachments. A bucket is reached over a network, which one replica may lose alone. */
const PART_OF_READINESS = { s3: 'required', filesystem: 'shown', none: undefined } as const;

/** The list of modules, and the slice of the configuration that each gets. */
@Global()
@Module({})
export class AppModule {
  static register({ config, database, logger, host, registry }: Parts): DynamicModule {
    const { hosted } = host;
    const slices = Object.entries(SLICES).map(([name, provide]) => ({
      provide,
      useValue: config[name as keyof Injected],
    }));
    return {
      module: AppModule,
      imports: [
        DatabaseModule.register(database),
        ObservabilityModule.register({
          config: config.observability,
          logger,
          hosted,
          ...(registry && { registry }),
        }),
        AuthModule.register(hosted),
        OwnershipModule.register(hosted),
        UploadsModule.register(hosted),
        ReplicasModule,
        // Its routes come first: they have a name where those of tasks have an id.
        StreamingModule.register(hosted),
        BulkModule,
        TasksModule,
        FollowTokensModule,
        SchedulesModule,
        ExecutionModule,
        HealthModule.register({
          redisUrl: config.liveLog.redisUrl,
          readinessRedis: config.health.readinessRedis,
          readinessAttachments: hosted.has(AttachmentStore) ? undefined : PART_OF_READINESS[config.uploads.store],
          hosted,
        }),
        SystemModule.register(config.effective),
        ...host.modules,
        // Behind a host, which may have a page of its own at `/`.
        ...(config.http.console ? [ConsoleModule.register(!config.http.productionLike)] : []),
      ],
      providers: [
        ...slices,
        DrainState,
        { provide: APP_FILTER, useClass: ErrorFilter },
        { provide: APP_GUARD, useClass: UnknownQueryGuard },
        { provide: APP_GUARD, useClass: AcceptGuard },
        { provide: APP_PIPE, useClass: EdgeValidationPipe },
      ],
      exports: [...slices, DrainState],
    };
  }
}
