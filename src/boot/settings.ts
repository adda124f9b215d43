import { MAX_EVENT_BYTES, MAX_RESULT_BYTES } from '#protocol/limits.js';
import {
  choice,
  choiceInAnyCase,
  commaList,
  flag,
  fraction,
  hostName,
  httpUrl,
  integer,
  type Kind,
  mediaType,
  origin,
  path,
  postgresUrl,
  redisUrl,
  secret,
  signingKey,
  text,
} from './setting-kinds.js';
import { taskTypes } from './task-types.js';
import { workerTokenFile, workerTokens } from './worker-tokens.js';

/** One environment variable. The table below is what config reads and what the documentation is generated from. */
export interface Setting<T = unknown> {
  /** Where `Config` has it: `slice.member`. The slice has the name of the room that reads it. Absent: only a command reads it. */
  readonly at?: string;
  readonly kind: Kind<T>;
  /** Where the text comes by file, and may have another form there. */
  readonly fileKind?: Kind<T>;
  /** As an operator would write it. Absent: the setting may be unset, and `unset` says what that means. */
  readonly default?: string;
  /** Where production-like environments differ. */
  readonly productionDefault?: string;
  readonly unset?: string;
  readonly meaning: string;
}

export const ENVIRONMENTS = ['local', 'test', 'dev', 'staging', 'production', 'prod'] as const;
export type Environment = (typeof ENVIRONMENTS)[number];
export const PRODUCTION_LIKE: readonly Environment[] = ['staging', 'production', 'prod'];

const DAY = 86_400;
const GIB = 2 ** 30;

export const SETTINGS = {
  APP_ENV: {
    at: 'environment.name',
    kind: choiceInAnyCase(...ENVIRONMENTS),
    default: 'local',
    meaning:
      'what this installation is; staging, production and prod are production-like: the boot guard is strict there',
  },
  PORT: {
    at: 'http.port',
    kind: integer(0, 65_535),
    default: '3000',
    meaning: 'the port it listens on; 0 means any free port',
  },
  HOST: {
    at: 'http.host',
    kind: hostName,
    default: '127.0.0.1',
    productionDefault: '0.0.0.0',
    meaning: 'the address it listens on',
  },
  OPS_PORT: {
    at: 'observability.opsPort',
    kind: integer(0, 65_535),
    unset: 'both are on PORT',
    meaning:
      'a second port for `/metrics` and the details of `/ready`, which PORT then does not show; 0 means any free port',
  },
  LOG_LEVEL: {
    at: 'observability.logLevel',
    kind: choice('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
    default: 'info',
    meaning: 'the lowest logged level',
  },
  LOG_USE_CASES: {
    at: 'observability.useCaseLevel',
    kind: choice('info', 'debug'),
    default: 'debug',
    productionDefault: 'info',
    meaning: 'the level of the lines at the start and the success of a use-case; with `debug` a request has one line',
  },
  DATA_DIR: {
    at: 'database.dataDirectory',
    kind: path('a directory'),
    default: '.taskbridge',
    meaning: 'the directory of the embedded PostgreSQL and of filesystem attachments',
  },
  DATABASE_URL: {
    at: 'database.url',
    kind: postgresUrl,
    unset: 'an embedded PostgreSQL; refused in production-like environments',
    meaning: "the service's connection, as the app role",
  },
  MIGRATION_DATABASE_URL: {
    kind: postgresUrl,
    unset: '`npm run migrate` refuses',
    meaning: 'the connection of `npm run migrate`, as the owner; the service does not need it',
  },
  RETENTION_DATABASE_URL: {
    kind: postgresUrl,
    unset: '`npm run retention` refuses',
    meaning: 'the connection of `npm run retention`, as taskbridge_retention; the service does not need it',
  },
  RETENTION_DAYS: {
    kind: integer(0, 36_500),
    default: '30',
    meaning: 'days after its end before `npm run retention` removes a task',
  },
  DATABASE_POOL_MAX: {
    at: 'database.poolMax',
    kind: integer(1, 1000),
    default: '10',
    meaning: 'PostgreSQL connections per replica',
  },
  BOOT_WAIT_SECONDS: {
    at: 'database.bootWaitSeconds',
    kind: integer(0, 3600),
    default: '30',
    meaning: 'how long PostgreSQL may take to answer at boot',
  },
  REDIS_URL: {
    at: 'liveLog.redisUrl',
    kind: redisUrl,
    unset: 'an in-process live log; refused in production-like environments',
    meaning: 'carries events between replicas',
  },
  READINESS_REDIS: {
    at: 'health.readinessRedis',
    kind: choice('required', 'degraded'),
    default: 'required',
    meaning: 'with degraded, a replica without Redis stays ready',
  },
  HOST_MODULE: {
    at: 'boot.hostModule',
    kind: path('a path of an ES module'),
    unset: 'no host module',
    meaning: 'the ES module that replaces ports and adds handlers',
  },
  EXECUTOR: {
    at: 'execution.executors',
    kind: commaList(choice('inline', 'worker')),
    default: 'inline',
    meaning: 'the executors: inline takes the types with a handler in this process, workers take all others',
  },
  DEMO_TASKS: {
    at: 'execution.demoTasks',
    kind: flag,
    default: 'true',
    productionDefault: 'false',
    meaning: 'whether the `demo.*` handlers exist',
  },
  CONSOLE: {
    at: 'http.console',
    kind: flag,
    default: 'true',
    productionDefault: 'false',
    meaning: 'whether the web console is served at `/console`',
  },
  EXPOSE_HANDLER_ERRORS: {
    at: 'execution.exposeHandlerErrors',
    kind: flag,
    default: 'true',
    productionDefault: 'false',
    meaning:
      'whether clients see what a handler inside the service threw, when it is no TaskFailure; its text may hold anything',
  },
  INLINE_CONCURRENCY: {
    at: 'execution.inlineConcurrency',
    kind: integer(1, 10_000),
    default: '50',
    meaning: 'inline tasks at a time',
  },
  TASK_MAX_ATTEMPTS: {
    at: 'tasks.maxAttempts',
    kind: integer(1, 1000),
    default: '3',
    meaning: 'failed or lost attempts after which the task fails',
  },
  LEASE_SECONDS: {
    at: 'tasks.leaseSeconds',
    kind: integer(1, DAY),
    default: '30',
    meaning: 'how long a lease lasts without a sign of life',
  },
  MAX_LEASE_SECONDS: {
    at: 'tasks.maxLeaseSeconds',
    kind: integer(1, DAY),
    default: '600',
    meaning: 'the longest lease that the claim of a remote worker may ask for',
  },
  CANCEL_GRACE_SECONDS: {
    at: 'tasks.cancelGraceSeconds',
    kind: integer(0, DAY),
    default: '30',
    meaning: 'how long a task may take to obey a cancellation',
  },
  TASK_TYPES: {
    at: 'tasks.taskTypes',
    kind: taskTypes,
    unset: 'the policies of handlers and workers alone count',
    meaning: 'policies of task types, as JSON; `TASK_TYPES_FILE` names a file with them (docs/queue.md)',
  },
  WORKER_TOKENS: {
    at: 'execution.workerTokens',
    kind: workerTokens,
    fileKind: workerTokenFile,
    unset: 'remote workers are refused',
    meaning:
      'bearer tokens that grant `tasks:execute`; `WORKER_TOKENS_FILE` may have a JSON list of named and limited ones',
  },
  REQUIRE_AUTHENTICATED_PRINCIPAL: {
    at: 'auth.requireAuthenticatedPrincipal',
    kind: flag,
    default: 'false',
    meaning: 'whether a request without a principal is refused; must be true in production-like environments',
  },
  AUTH_PROXY_SECRET: {
    at: 'auth.proxySecrets',
    kind: commaList(secret(16)),
    unset: 'the service accepts principal headers without proof, but no scope over tasks of others',
    meaning: '`X-Auth-Proxy-Secret` must equal one of these',
  },
  FOLLOW_TOKEN_KEYS: {
    at: 'auth.followTokenKeys',
    kind: commaList(signingKey),
    unset: 'there are no follow tokens',
    meaning: 'the first signs follow tokens and all verify them; the same on every replica (`openssl rand -hex 32`)',
  },
  OWNERSHIP_POLICY: {
    at: 'ownership.policy',
    kind: choice('owner', 'tenant'),
    default: 'owner',
    meaning: 'who may read and control a task',
  },
  ALLOWED_ORIGINS: {
    at: 'http.allowedOrigins',
    kind: commaList(origin),
    unset: 'none but the same host',
    meaning: 'origins of allowed browser pages, besides the same host',
  },
  MAX_REQUEST_BODY_SIZE_BYTES: {
    at: 'http.maxRequestBodyBytes',
    kind: integer(1, GIB),
    default: '1048576',
    meaning: 'bytes of one JSON body',
  },
  MAX_EVENT_PAYLOAD_BYTES: {
    at: 'tasks.maxEventPayloadBytes',
    // A larger payload would make a frame that common clients refuse.
    kind: integer(1, MAX_RESULT_BYTES),
    default: String(MAX_EVENT_BYTES),
    meaning: "bytes of one event's payload, as it is stored",
  },
  // An accepted task that ends has two events at the least.
  MAX_EVENTS_PER_TASK: {
    at: 'tasks.maxEventsPerTask',
    kind: integer(2, 2 ** 31 - 1),
    default: '100000',
    meaning: 'events of one task',
  },
  ATTACHMENT_STORE: {
    at: 'uploads.store',
    kind: choice('filesystem', 's3', 'none'),
    default: 'filesystem',
    productionDefault: 'none',
    meaning: 'the store of attachments; none refuses multipart bodies with 415',
  },
  S3_BUCKET: {
    at: 's3.bucket',
    kind: text('a name of a bucket'),
    unset: 'refused when ATTACHMENT_STORE is s3',
    meaning: 'the bucket of attachments; credentials are found as by AWS tools, AWS_ACCESS_KEY_ID and the like',
  },
  S3_ENDPOINT: { at: 's3.endpoint', kind: httpUrl, unset: 'AWS', meaning: 'the address of an S3-compatible store' },
  S3_REGION: {
    at: 's3.region',
    kind: text('a name of a region'),
    unset: 'the region of the AWS variables and files',
    meaning: 'the region of the bucket',
  },
  S3_FORCE_PATH_STYLE: {
    at: 's3.forcePathStyle',
    kind: flag,
    default: 'false',
    meaning: 'whether the bucket is part of the path, which most S3-compatible stores need',
  },
  UPLOAD_MAX_FILE_BYTES: {
    at: 'uploads.maxFileBytes',
    kind: integer(1, 5 * 1024 * GIB),
    default: '10485760',
    meaning: 'bytes of one attachment',
  },
  UPLOAD_MAX_FILES: {
    at: 'uploads.maxFiles',
    kind: integer(1, 1000),
    default: '10',
    meaning: 'attachments of one task',
  },
  UPLOAD_MAX_TOTAL_BYTES: {
    at: 'uploads.maxTotalBytes',
    kind: integer(1, 5 * 1024 * GIB),
    default: '52428800',
    meaning: "bytes of one task's attachments together",
  },
  UPLOAD_ALLOWED_TYPES: {
    at: 'uploads.allowedTypes',
    kind: commaList(mediaType),
    unset: 'any',
    meaning: 'allowed types of attachments',
  },
  UPLOAD_QUOTA_BYTES: {
    at: 'uploads.quotaBytes',
    kind: integer(1, 2 ** 50),
    default: '1073741824',
    meaning: 'bytes of the attachments of all tasks of one owner',
  },
  HEARTBEAT_SECONDS: {
    at: 'streaming.heartbeatSeconds',
    kind: integer(1, 3600),
    default: '15',
    meaning: 'seconds without an event before a heartbeat',
  },
  STREAMS_PER_PRINCIPAL: {
    at: 'streaming.streamsPerPrincipal',
    kind: integer(0, 1_000_000),
    default: '100',
    meaning: 'open streams of one principal; 0 means no cap',
  },
  OPEN_TASKS_PER_PRINCIPAL: {
    at: 'tasks.openTasksPerPrincipal',
    kind: integer(0, 1_000_000),
    default: '10000',
    meaning: 'tasks of one owner that are not over; 0 means no cap',
  },
  STREAM_MAX_SECONDS: {
    at: 'streaming.streamMaxSeconds',
    kind: integer(1, 30 * DAY),
    default: '3600',
    meaning: 'age at which a stream ends and the client resumes',
  },
  STREAM_MAX_BUFFERED_BYTES: {
    at: 'streaming.streamMaxBufferedBytes',
    kind: integer(1024, GIB),
    default: '1048576',
    meaning: 'unsent bytes above which a stream pauses',
  },
  SHUTDOWN_GRACE_SECONDS: {
    at: 'boot.shutdownGraceSeconds',
    kind: integer(1, 3600),
    default: '25',
    meaning: 'time from SIGTERM to the exit',
  },
  DRAIN_DELAY_SECONDS: {
    at: 'boot.drainDelaySeconds',
    kind: integer(0, 3600),
    default: '1',
    productionDefault: '5',
    meaning: 'how long it serves after /ready has turned 503; at most SHUTDOWN_GRACE_SECONDS',
  },
  OTEL_EXPORTER: {
    at: 'observability.otelExporter',
    kind: choice('none', 'console', 'otlp'),
    default: 'none',
    meaning: 'the target of traces; otlp honours `OTEL_EXPORTER_OTLP_*`, by HTTP with JSON or protobuf',
  },
  OTEL_SERVICE_NAME: {
    at: 'observability.otelServiceName',
    kind: text('a name without spaces'),
    default: 'taskbridge',
    meaning: 'the name of the service in traces',
  },
  OTEL_SAMPLER_RATIO: {
    at: 'observability.otelSamplerRatio',
    kind: fraction(),
    default: '1',
    meaning: 'the share of recorded traces',
  },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof SETTINGS;

type Parsed<S extends Setting> = S['kind'] extends Kind<infer T> ? T : never;

/** The table after parsing: a value, or undefined without a default. An unset list is empty. */
export type SettingValues = {
  readonly [Name in SettingName]: (typeof SETTINGS)[Name] extends { default: string } | { kind: { none: object } }
    ? Parsed<(typeof SETTINGS)[Name]>
    : Parsed<(typeof SETTINGS)[Name]> | undefined;
};

type SliceOf<S> = S extends { at: `${infer Name}.${string}` } ? Name : never;
export type SliceName = SliceOf<(typeof SETTINGS)[SettingName]>;

type Members<Name extends SliceName> = {
  readonly [Key in SettingName as (typeof SETTINGS)[Key] extends { at: `${Name}.${infer Member}` }
    ? Member
    : never]: SettingValues[Key];
};
type Unset<T> = { [Key in keyof T]: undefined extends T[Key] ? Key : never }[keyof T];

/** The settings of one part of the service, under the names of its configuration. Unset settings are absent. */
export type Slice<Name extends SliceName> = Omit<Members<Name>, Unset<Members<Name>>> & {
  readonly [Key in Unset<Members<Name>>]?: NonNullable<Members<Name>[Key]>;
};

/** All slices, by their names. */
export function slicesOf(values: SettingValues): { readonly [Name in SliceName]: Slice<Name> } {
  const slices: Record<string, Record<string, unknown>> = {};
  for (const [name, { at }] of Object.entries<Setting>(SETTINGS)) {
    const [of, member] = at?.split('.') ?? [];
    if (of === undefined || member === undefined) continue;
    const slice = (slices[of] ??= {});
    const value = values[name as SettingName];
    if (value !== undefined) slice[member] = value;
  }
  return slices as { readonly [Name in SliceName]: Slice<Name> };
}
