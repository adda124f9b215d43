import { describe, expect, it } from '@jest/globals';
import { ConfigError, readConfig, readMigrationConfig } from '../../src/boot/config.js';
import { SETTINGS, type Setting } from '../../src/boot/settings.js';

const TOKEN = 'worker-token-of-thirty-two-chars';
const PRODUCTION = {
  APP_ENV: 'production',
  DATABASE_URL: 'postgresql://taskbridge_app:hunter2@db/taskbridge',
  REDIS_URL: 'redis://redis:6379',
  REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
};

function linesOf(env: NodeJS.ProcessEnv): readonly string[] {
  return linesThrown(() => readConfig(env));
}

function linesThrown(read: () => unknown): readonly string[] {
  try {
    read();
  } catch (error) {
    if (error instanceof ConfigError) return error.lines;
    throw error;
  }
  return [];
}

describe('the configuration', () => {
  it('of an empty environment is a local service on embedded PostgreSQL', () => {
    const { effective, ...config } = readConfig({});
    expect(effective.all.every(({ origin }) => origin === 'default')).toBe(true);
    expect(config).toEqual({
      environment: { name: 'local', productionLike: false },
      database: { dataDirectory: '.taskbridge', poolMax: 10, bootWaitSeconds: 30 },
      auth: { requireAuthenticatedPrincipal: false, proxySecrets: [], followTokenKeys: [] },
      ownership: { policy: 'owner' },
      tasks: {
        maxEventPayloadBytes: 65_536,
        maxEventsPerTask: 100_000,
        maxAttempts: 3,
        leaseSeconds: 30,
        maxLeaseSeconds: 600,
        cancelGraceSeconds: 30,
        openTasksPerPrincipal: 10_000,
        taskTypes: new Map(),
      },
      execution: {
        executors: ['inline'],
        demoTasks: true,
        exposeHandlerErrors: true,
        inlineConcurrency: 50,
        workerTokens: [],
      },
      liveLog: {},
      streaming: {
        heartbeatSeconds: 15,
        streamMaxSeconds: 3600,
        streamMaxBufferedBytes: 1_048_576,
        streamsPerPrincipal: 100,
      },
      uploads: {
        store: 'filesystem',
        directory: '.taskbridge/attachments',
        maxFileBytes: 10_485_760,
        maxFiles: 10,
        maxTotalBytes: 52_428_800,
        allowedTypes: [],
        quotaBytes: 1_073_741_824,
      },
      http: {
        console: true,
        port: 3000,
        host: '127.0.0.1',
        maxRequestBodyBytes: 1_048_576,
        allowedOrigins: [],
        productionLike: false,
      },
      observability: {
        logLevel: 'info',
        useCaseLevel: 'debug',
        otelExporter: 'none',
        otelServiceName: 'taskbridge',
        otelSamplerRatio: 1,
      },
      boot: { shutdownGraceSeconds: 25, drainDelaySeconds: 1 },
      health: { readinessRedis: 'required' },
    });
  });

  it('of a production-like environment has other defaults', () => {
    const config = readConfig(PRODUCTION);
    expect(config.environment).toEqual({ name: 'production', productionLike: true });
    expect(config.http.host).toBe('0.0.0.0');
    expect(config.execution).toMatchObject({ demoTasks: false, exposeHandlerErrors: false });
    expect(config.observability.useCaseLevel).toBe('info');
    expect(config.boot.drainDelaySeconds).toBe(5);
    expect(config.uploads.store).toBe('none');
    expect(config.liveLog.redisUrl).toBe('redis://redis:6379');
  });

  it('is frozen at every depth', () => {
    const config = readConfig({ WORKER_TOKENS: TOKEN });
    expect(() => Object.assign(config.auth, { requireAuthenticatedPrincipal: true })).toThrow(TypeError);
    expect(() => (config.execution.workerTokens as object[]).push({ token: 'another' })).toThrow(TypeError);
  });

  it('takes values trimmed, and an empty or blank one for none', () => {
    const config = readConfig({ PORT: ' 8080 ', HOST: '', OTEL_SERVICE_NAME: '  ', ALLOWED_ORIGINS: '' });
    expect(config.http).toMatchObject({ port: 8080, host: '127.0.0.1', allowedOrigins: [] });
    expect(config.observability.otelServiceName).toBe('taskbridge');
  });

  it('takes lists with spaces around their items', () => {
    const config = readConfig({
      EXECUTOR: 'inline , worker',
      WORKER_TOKENS: ` ${TOKEN}1 , ${TOKEN}2 `,
      AUTH_PROXY_SECRET: 'sixteen-or-more!,the-next-one-of-16',
      ALLOWED_ORIGINS: 'https://a.example, http://localhost:5173',
    });
    expect(config.execution).toMatchObject({
      executors: ['inline', 'worker'],
      workerTokens: [{ token: `${TOKEN}1` }, { token: `${TOKEN}2` }],
    });
    expect(config.auth.proxySecrets).toEqual(['sixteen-or-more!', 'the-next-one-of-16']);
    expect(config.http.allowedOrigins).toEqual(['https://a.example', 'http://localhost:5173']);
  });

  it('takes what an S3 store needs, and types in any case', () => {
    const { uploads } = readConfig({
      ATTACHMENT_STORE: 's3',
      S3_BUCKET: 'files',
      S3_ENDPOINT: 'http://127.0.0.1:9000',
      S3_FORCE_PATH_STYLE: 'true',
      UPLOAD_ALLOWED_TYPES: 'image/PNG, text/*',
    });
    expect(uploads.s3).toEqual({ bucket: 'files', endpoint: 'http://127.0.0.1:9000', forcePathStyle: true });
    expect(uploads.allowedTypes).toEqual(['image/png', 'text/*']);
  });

  it.each([
    ['a socket in the query', 'postgresql://taskbridge_app@/taskbridge?host=%2Ftmp%2Fsocket&port=5432'],
    ['a socket as host', 'postgres://taskbridge_app@%2Ftmp%2Fsocket/taskbridge'],
    ['parameters', 'postgres://u:p%40ss@db.example:6432/taskbridge?sslmode=verify-full'],
    ['a raw @ in the password', 'postgres://u:p@ss@db.example/taskbridge'],
    ['an IPv6 address', 'postgres://u@[::1]:5432/taskbridge'],
    ['everything in the query', 'postgres:///taskbridge?host=db.example&user=me@server'],
    ['a host alone', 'postgres://db.example'],
  ])('takes a DATABASE_URL with %s', (_what, url) => {
    expect(readConfig({ DATABASE_URL: url }).database.url).toBe(url);
  });

  it('shortens the default drain delay to the grace period that was asked for', () => {
    expect(readConfig({ ...PRODUCTION, SHUTDOWN_GRACE_SECONDS: '3' }).boot.drainDelaySeconds).toBe(3);
  });
});

describe('the environment', () => {
  it.each([
    ['prod', 'prod'],
    ['PROD', 'prod'],
    [' production ', 'production'],
    ['Staging', 'staging'],
  ])('%j is production-like', (written, name) => {
    expect(readConfig({ ...PRODUCTION, APP_ENV: written }).environment).toEqual({ name, productionLike: true });
  });

  it.each(['productoin', 'live', 'prod,dev', 'null'])('%j is refused', (written) => {
    expect(linesOf({ APP_ENV: written })).toEqual(['APP_ENV: accepts local, test, dev, staging, production or prod']);
  });

  it.each(['local', 'test', 'dev', '', '   '])('%j is not production-like', (written) => {
    expect(readConfig({ APP_ENV: written }).environment.productionLike).toBe(false);
  });
});

describe('a refusal', () => {
  it('tells everything at once, a line a setting, rules of production and bad values alike', () => {
    expect(
      linesOf({ APP_ENV: 'prod', PORT: '80a', REQUIRE_AUTHENTICATED_PRINCIPAL: 'yes', WORKER_TOKENS: 'short' }),
    ).toEqual([
      'PORT: accepts an integer from 0 to 65535',
      'DATABASE_URL: is required in production-like environments (APP_ENV): nothing is embedded there',
      'REDIS_URL: is required in production-like environments (APP_ENV): replicas need it to reach each other',
      'WORKER_TOKENS: accepts a comma list, each item of 32 or more visible ASCII characters',
      'REQUIRE_AUTHENTICATED_PRINCIPAL: accepts true or false',
    ]);
  });

  it('of production without authentication names the setting', () => {
    const rule = 'REQUIRE_AUTHENTICATED_PRINCIPAL: must be true in production-like environments (APP_ENV)';
    expect(linesOf({ ...PRODUCTION, REQUIRE_AUTHENTICATED_PRINCIPAL: 'false' })).toEqual([rule]);
    expect(linesOf({ ...PRODUCTION, REQUIRE_AUTHENTICATED_PRINCIPAL: '' })).toEqual([rule]);
  });

  it.each([
    ['PORT', ['-1', '65536', '3e3', '0x50', '3000.0', '+80', '080', '80 81', 'NaN']],
    ['LEASE_SECONDS', ['0', '30s', '1_000']],
    ['REQUIRE_AUTHENTICATED_PRINCIPAL', ['TRUE', '1', 'yes', 'on', 'false ,true']],
    ['LOG_LEVEL', ['INFO', 'verbose']],
    ['EXECUTOR', ['inline,', ',worker', 'inline,,worker', 'temporal', ',']],
    [
      'WORKER_TOKENS',
      ['short-and-secret', `${TOKEN},`, `${TOKEN},short-and-secret`, `${TOKEN} with a space`, `${TOKEN}é`],
    ],
    [
      'FOLLOW_TOKEN_KEYS',
      [
        '0123456789abcdef0123456789abcde',
        'a'.repeat(64),
        'change-me'.repeat(8),
        `${'0123456789abcdef'.repeat(2)},short`,
      ],
    ],
    ['AUTH_PROXY_SECRET', ['fifteen-chars..', 'sixteen-or-more!,,sixteen-or-more!']],
    ['ALLOWED_ORIGINS', ['*', 'null', 'https://a.example/', 'https://a.example/path', 'a.example', 'ftp://a.example']],
    ['DATABASE_URL', ['mysql://db/x', 'db.example/taskbridge', 'postgres:/db/x', 'postgres://', 'host=db user=app']],
    [
      'DATABASE_URL',
      [
        'postgres://u@db1,db2/x',
        'postgres://u@db1:5432,db2:5432/x?target_session_attrs=any',
        'postgres://u@/x?host=a,b',
      ],
    ],
    [
      'DATABASE_URL',
      [' word', '/word', '?word', '?word=', '#word', '%zz', '%e9'].map((part) => `postgres://u:secret${part}@db/x`),
    ],
    ['DATABASE_URL', ['/', '?', '#'].map((character) => `postgres://u:12${character}secret@db/x`)],
    ['DATABASE_URL', ['postgres://u@db:port/x', 'postgres://u@db:70000/x', 'postgres://u@/x?host=db&port=0']],
    ['MIGRATION_DATABASE_URL', ['http://db/x']],
    ['REDIS_URL', ['redis:6379', 'http://redis', 'redis://', 'redis:///0']],
    ['READINESS_REDIS', ['optional']],
    ['OWNERSHIP_POLICY', ['Owner', 'nobody']],
    ['ATTACHMENT_STORE', ['disk', 'S3']],
    ['S3_ENDPOINT', ['s3.example', 'ftp://s3.example', 'https://user:secret@s3.example', 'https://s3.example a']],
    ['UPLOAD_MAX_FILES', ['0', 'many']],
    ['UPLOAD_ALLOWED_TYPES', ['png', 'image/', '*/*', 'image/png;q=1', 'image/png,']],
    ['OTEL_EXPORTER', ['jaeger']],
    ['OTEL_SAMPLER_RATIO', ['1.5', '-0.1', '1e-1', '.5', '50%']],
    ['HOST', ['127.0.0.1 ::1']],
  ])('of %s says what is accepted and never what was there', (name, texts) => {
    for (const text of texts) {
      const lines = linesOf({ [name]: text });
      expect(lines).toHaveLength(1);
      expect(lines[0]).toMatch(new RegExp(`^${name}: accepts `));
      expect(lines[0]).toBe(`${name}: accepts ${(SETTINGS as Record<string, Setting>)[name]?.kind.accepts}`);
    }
  });

  it('of a drain that outlasts the grace period names the drain', () => {
    expect(linesOf({ DRAIN_DELAY_SECONDS: '26' })).toEqual([
      'DRAIN_DELAY_SECONDS: must not be more than SHUTDOWN_GRACE_SECONDS',
    ]);
  });

  it('of an S3 store without a bucket names the bucket', () => {
    expect(linesOf({ ATTACHMENT_STORE: 's3' })).toEqual(['S3_BUCKET: is required when ATTACHMENT_STORE is s3']);
  });

  it('of a worker token that is also the proof of the proxy protects the proxy', () => {
    expect(linesOf({ AUTH_PROXY_SECRET: TOKEN, WORKER_TOKENS: `${TOKEN}0,${TOKEN}` })).toEqual([
      'WORKER_TOKENS: must not repeat a secret of AUTH_PROXY_SECRET',
    ]);
  });

  it.each([['AUTH_PROXY_SECRET'], ['WORKER_TOKENS']])('of a key of follow tokens that is also in %s', (name) => {
    const key = '0123456789abcdef'.repeat(2);
    expect(linesOf({ [name]: key, FOLLOW_TOKEN_KEYS: `${TOKEN}-another-key-0123456789,${key}` })).toEqual([
      'FOLLOW_TOKEN_KEYS: must not repeat a secret of AUTH_PROXY_SECRET or a token of WORKER_TOKENS',
    ]);
  });
});

describe('the configuration of a migration', () => {
  it('needs the URL of the owner', () => {
    expect(linesThrown(() => readMigrationConfig({ BOOT_WAIT_SECONDS: 'x' }))).toEqual([
      'MIGRATION_DATABASE_URL: is required: the connection URL of the role that owns the schema',
      'BOOT_WAIT_SECONDS: accepts an integer from 0 to 3600',
    ]);
  });

  it('looks at nothing else', () => {
    const env = { APP_ENV: 'prod', PORT: 'x', MIGRATION_DATABASE_URL: 'postgres://owner@db/taskbridge' };
    expect(readMigrationConfig(env)).toEqual({ ownerUrl: 'postgres://owner@db/taskbridge', waitSeconds: 30 });
  });
});

describe('the table of settings', () => {
  it.each(Object.entries<Setting>(SETTINGS))(
    'has defaults that %s accepts, or says what unset means',
    (_name, setting) => {
      const defaults = [setting.default, setting.productionDefault].filter((text) => text !== undefined);
      expect(defaults.map((text) => setting.kind.parse(text))).not.toContain(undefined);
      expect(setting.default === undefined).toBe(setting.unset !== undefined);
    },
  );
});
