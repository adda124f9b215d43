import { join } from 'node:path';
import type { AuthConfig } from '../auth/auth.config.js';
import type { DatabaseConfig } from '../database/database.config.js';
import type { StreamingConfig } from '../streaming/streaming.config.js';
import type { ExecutionConfig } from '../execution/execution.config.js';
import type { HealthConfig } from '../health/health.config.js';
import type { HttpConfig } from '../http/http.config.js';
import type { LiveLogConfig } from '../live-log/live-log.config.js';
import type { ObservabilityConfig } from '../observability/observability.config.js';
import type { OwnershipConfig } from '../ownership/ownership.config.js';
import type { TasksConfig } from '../tasks/tasks.config.js';
import type { EffectiveSetting, EffectiveSettings } from '../system/effective-setting.js';
import type { UploadsConfig } from '../uploads/uploads.config.js';
import { notHonoured, otlpProblems } from './otlp-variables.js';
import { adoptFilesOfLibraries, readFiles } from './setting-files.js';
import {
  type Environment,
  PRODUCTION_LIKE,
  SETTINGS,
  type Setting,
  type SettingName,
  type SettingValues,
  slicesOf,
} from './settings.js';
import { type UnknownSetting, unknownSettings } from './unknown-settings.js';

/** All settings of the operator, read once, validated, frozen. Each module gets only its own slice. */
export interface Config {
  readonly environment: { readonly name: Environment; readonly productionLike: boolean };
  readonly database: DatabaseConfig;
  readonly auth: AuthConfig;
  readonly ownership: OwnershipConfig;
  readonly tasks: TasksConfig;
  readonly execution: ExecutionConfig;
  readonly liveLog: LiveLogConfig;
  readonly streaming: StreamingConfig;
  readonly uploads: UploadsConfig;
  readonly http: HttpConfig;
  readonly observability: ObservabilityConfig & { readonly otelServiceName: string; readonly otelSamplerRatio: number };
  readonly health: HealthConfig;
  readonly boot: {
    readonly shutdownGraceSeconds: number;
    readonly drainDelaySeconds: number;
    /** Path of an ES module. From HOST_MODULE. */
    readonly hostModule?: string;
  };
  /** What operators see of all this. */
  readonly effective: EffectiveSettings;
  /** Variables that look like settings and are none. Production-like environments refuse them. */
  readonly unknownSettings?: readonly UnknownSetting[];
}

/**
 * The service cannot serve with this environment. One line for each setting has its name and its rule, never its value, because
 * logs keep these lines.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(readonly lines: readonly string[]) {
    super(lines.join('\n'));
  }
}

export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const { values, given, effective, productionLike, problems } = readSettings(env);
  const rule = (name: SettingName, broken: boolean, text: string) => {
    if (broken && !problems.has(name) && !problems.has(`${name}_FILE`)) problems.set(name, text);
  };
  if (productionLike) {
    const why = 'in production-like environments (APP_ENV)';
    rule('DATABASE_URL', values.DATABASE_URL === undefined, `is required ${why}: nothing is embedded there`);
    rule('REDIS_URL', values.REDIS_URL === undefined, `is required ${why}: replicas need it to reach each other`);
    rule('REQUIRE_AUTHENTICATED_PRINCIPAL', values.REQUIRE_AUTHENTICATED_PRINCIPAL !== true, `must be true ${why}`);
  }
  // An image sets NODE_ENV. The operator has to say what the installation is.
  const isProduction = env.NODE_ENV?.trim().toLowerCase() === 'production';
  rule(
    'APP_ENV',
    isProduction && !given.has('APP_ENV'),
    'is required where NODE_ENV is production: set production, or local for a machine of your own',
  );
  rule(
    'DRAIN_DELAY_SECONDS',
    given.has('DRAIN_DELAY_SECONDS') && values.DRAIN_DELAY_SECONDS > values.SHUTDOWN_GRACE_SECONDS,
    'must not be more than SHUTDOWN_GRACE_SECONDS',
  );
  // Otherwise the holder of a worker token could act as the proxy, and so as any principal.
  rule(
    'WORKER_TOKENS',
    values.WORKER_TOKENS.some(({ token }) => values.AUTH_PROXY_SECRET.includes(token)),
    'must not repeat a secret of AUTH_PROXY_SECRET',
  );
  // Otherwise a proxy or a worker could sign tokens of any principal.
  const shown = [...values.AUTH_PROXY_SECRET, ...values.WORKER_TOKENS.map(({ token }) => token)];
  rule(
    'FOLLOW_TOKEN_KEYS',
    values.FOLLOW_TOKEN_KEYS.some((key) => shown.includes(key)),
    'must not repeat a secret of AUTH_PROXY_SECRET or a token of WORKER_TOKENS',
  );
  rule(
    'OPS_PORT',
    values.OPS_PORT !== undefined && values.OPS_PORT !== 0 && values.OPS_PORT === values.PORT,
    'must not be PORT',
  );
  rule(
    'S3_BUCKET',
    values.ATTACHMENT_STORE === 's3' && values.S3_BUCKET === undefined,
    'is required when ATTACHMENT_STORE is s3',
  );
  for (const [name, text] of adoptFilesOfLibraries(env)) problems.set(name, text);
  if (values.OTEL_EXPORTER === 'otlp') for (const [name, text] of otlpProblems(env)) problems.set(name, text);
  const unknown = [...unknownSettings(env), ...(values.OTEL_EXPORTER === 'otlp' ? notHonoured(env) : [])];
  if (productionLike) for (const { name, why } of unknown) problems.set(name, why);
  refuseProblems(problems);
  const config = {
    ...configOf(values, productionLike),
    effective: { all: effective, retentionDays: values.RETENTION_DAYS },
  };
  return deepFreeze(unknown.length > 0 ? { ...config, unknownSettings: unknown } : config);
}

/** What `npm run migrate` needs. */
export function readMigrationConfig(env: NodeJS.ProcessEnv = process.env) {
  const { url, values } = readCommand(env, 'MIGRATION_DATABASE_URL', 'the role that owns the schema');
  return Object.freeze({ ownerUrl: url, waitSeconds: values.BOOT_WAIT_SECONDS });
}

/** What `npm run retention` needs. */
export function readRetentionConfig(env: NodeJS.ProcessEnv = process.env) {
  const { url, values } = readCommand(env, 'RETENTION_DATABASE_URL', 'the role taskbridge_retention', 'RETENTION_DAYS');
  const { RETENTION_DAYS: retentionDays, BOOT_WAIT_SECONDS: waitSeconds } = values;
  return Object.freeze({ retentionUrl: url, retentionDays, waitSeconds });
}

/**
 * The connection of a command, as `whose`. Only the settings that it needs are read: it runs where the service is not configured.
 */
function readCommand(
  env: NodeJS.ProcessEnv,
  urlName: 'MIGRATION_DATABASE_URL' | 'RETENTION_DATABASE_URL',
  whose: string,
  ...more: SettingName[]
): { url: string; values: SettingValues } {
  const { values, problems } = readSettings(env);
  const needed: SettingName[] = [urlName, 'BOOT_WAIT_SECONDS', ...more];
  const isNeeded = (name: string) => (needed as string[]).includes(name.replace(/_FILE$/, ''));
  const relevant = new Map([...problems].filter(([name]) => isNeeded(name)));
  const url = values[urlName];
  if (url === undefined && !relevant.has(urlName) && !relevant.has(`${urlName}_FILE`)) {
    relevant.set(urlName, `is required: the connection URL of ${whose}`);
  }
  refuseProblems(relevant);
  return { url: url ?? '', values };
}

/** Policies may be a megabyte. */
const LONGEST_SHOWN = 2_000;

/** The problems by the names of their variables. */
type Problems = Map<string, string>;

/** A setting with a problem has no value, or the empty list. `refuseProblems` runs before any use of these values. */
function readSettings(env: NodeJS.ProcessEnv): {
  values: SettingValues;
  /** The settings that the environment has, without those that have only their default. */
  given: ReadonlySet<SettingName>;
  effective: readonly EffectiveSetting[];
  productionLike: boolean;
  problems: Problems;
} {
  const values: Partial<Record<SettingName, unknown>> = {};
  const given = new Set<SettingName>();
  const effective: EffectiveSetting[] = [];
  const files = readFiles(env, Object.keys(SETTINGS));
  const problems: Problems = new Map(files.problems);
  let productionLike = false;
  for (const [key, setting] of Object.entries<Setting>(SETTINGS)) {
    const name = key as SettingName;
    const fallback = (productionLike ? setting.productionDefault : undefined) ?? setting.default;
    const byFile = env[name]?.trim() ? undefined : files.texts.get(name);
    const own = byFile ?? env[name]?.trim();
    if (own) given.add(name);
    const text = own || fallback;
    effective.push({
      name,
      origin: !own ? 'default' : byFile === undefined ? 'environment' : 'file',
      isSet: text !== undefined,
      isHidden: setting.kind.isHidden ?? false,
      ...(text !== undefined && !setting.kind.isHidden && { value: text.slice(0, LONGEST_SHOWN) }),
      meaning: setting.meaning,
    });
    values[name] = setting.kind.none;
    if (text === undefined || problems.has(name) || problems.has(`${name}_FILE`)) continue;
    const kind = (byFile !== undefined && setting.fileKind) || setting.kind;
    const value = kind.parse(text);
    const problem = value === undefined ? kind.problemOf?.(text) : undefined;
    if (problem !== undefined) problems.set(byFile === undefined ? name : `${name}_FILE`, problem);
    else if (value === undefined) problems.set(name, `accepts ${kind.accepts}`);
    else values[name] = value;
    // First in the table, because the defaults of the others depend on it.
    if (name === 'APP_ENV') productionLike = PRODUCTION_LIKE.includes(value as Environment);
  }
  return { values: values as SettingValues, given, effective, productionLike, problems };
}

function refuseProblems(problems: Problems): void {
  const inOrder = new Set([...Object.keys(SETTINGS).flatMap((name) => [name, `${name}_FILE`]), ...problems.keys()]);
  const names = [...inOrder].filter((name) => problems.has(name));
  if (names.length > 0) throw new ConfigError(names.map((name) => `${name}: ${problems.get(name)}`));
}

/** The slices as the table of settings has them, and what follows from more than one setting. */
function configOf(values: SettingValues, productionLike: boolean): Omit<Config, 'effective'> {
  const { s3, ...slices } = slicesOf(values);
  return {
    ...slices,
    environment: { ...slices.environment, productionLike },
    http: { ...slices.http, productionLike },
    uploads: {
      ...slices.uploads,
      directory: join(values.DATA_DIR, 'attachments'),
      ...(values.ATTACHMENT_STORE === 's3' && { s3: { bucket: '', ...s3 } }),
    },
    boot: {
      ...slices.boot,
      drainDelaySeconds: Math.min(values.DRAIN_DELAY_SECONDS, values.SHUTDOWN_GRACE_SECONDS),
    },
  };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(deepFreeze);
  return Object.freeze(value);
}
