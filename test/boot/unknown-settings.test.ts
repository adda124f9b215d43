import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { ConfigError, readConfig, readMigrationConfig } from '../../src/boot/config.js';
import { SETTINGS } from '../../src/boot/settings.js';
import { createTestDatabase } from '../support/postgres.js';
import { eventually, runToExit, startService, temporaryDirectory } from '../support/service.js';

const PRODUCTION = {
  APP_ENV: 'production',
  DATABASE_URL: 'postgresql://taskbridge_app:hunter2@db/taskbridge',
  REDIS_URL: 'redis://redis:6379',
  REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
};

function linesOf(env: NodeJS.ProcessEnv, read: (env: NodeJS.ProcessEnv) => unknown = readConfig): readonly string[] {
  try {
    read({ ...env });
  } catch (error) {
    if (error instanceof ConfigError) return error.lines;
    throw error;
  }
  return [];
}

describe('A variable that looks like a setting', () => {
  const WRONG: readonly (readonly [written: string, meant: string])[] = [
    ['REQUIRE_AUTHENTICATED_PRINCIPLE', 'REQUIRE_AUTHENTICATED_PRINCIPAL'],
    ['REQUIRE_AUTHENTICATED_PRINCIPALS', 'REQUIRE_AUTHENTICATED_PRINCIPAL'],
    ['REQUIRE_AUTHENTICATION_PRINCIPAL', 'REQUIRE_AUTHENTICATED_PRINCIPAL'],
    ['REQUIRED_AUTHENTICATED_PRINCIPAL', 'REQUIRE_AUTHENTICATED_PRINCIPAL'],
    ['REQUIRE_AUTHENTICATION', 'REQUIRE_AUTHENTICATED_PRINCIPAL'],
    ['REQUIRE_AUTH', 'REQUIRE_AUTHENTICATED_PRINCIPAL'],
    ['REQUIRE_AUTHENTICATED_USER', 'REQUIRE_AUTHENTICATED_PRINCIPAL'],
    ['WORKER_TOKEN', 'WORKER_TOKENS'],
    ['WORKERS_TOKENS', 'WORKER_TOKENS'],
    ['WORKER_TOKENS_FILES', 'WORKER_TOKENS_FILE'],
    ['WORKER_TOKEN_FILE', 'WORKER_TOKENS_FILE'],
    ['AUTH_PROXY_SECRETS', 'AUTH_PROXY_SECRET'],
    ['AUTH_PROXY_TOKEN', 'AUTH_PROXY_SECRET'],
    ['PROXY_SECRET', 'AUTH_PROXY_SECRET'],
    ['ALLOWED_ORIGIN', 'ALLOWED_ORIGINS'],
    ['DATABASE_URI', 'DATABASE_URL'],
    ['DATABSE_URL', 'DATABASE_URL'],
    ['REDIS_URI', 'REDIS_URL'],
    ['REIDS_URL', 'REDIS_URL'],
    ['redis_url', 'REDIS_URL'],
    ['Database_Url', 'DATABASE_URL'],
    ['DATABASEURL', 'DATABASE_URL'],
    ['DATABASE-URL', 'DATABASE_URL'],
    ['TASKBRIDGE_DATABASE_URL', 'DATABASE_URL'],
    ['TASKBRIDGE_WORKER_TOKENS_FILE', 'WORKER_TOKENS_FILE'],
    ['LEASE_SECONDES', 'LEASE_SECONDS'],
    ['LEASE_SECS', 'LEASE_SECONDS'],
    ['LEASE_TIMEOUT', 'LEASE_SECONDS'],
    ['MAX_ATTEMPTS', 'TASK_MAX_ATTEMPTS'],
    ['TASK_MAX_ATTEMPT', 'TASK_MAX_ATTEMPTS'],
    ['TASK_MAX_RETRIES', 'TASK_MAX_ATTEMPTS'],
    ['OPEN_TASK_PER_PRINCIPAL', 'OPEN_TASKS_PER_PRINCIPAL'],
    ['SHUTDOWN_GRACE_SECOND', 'SHUTDOWN_GRACE_SECONDS'],
    ['LOGLEVEL', 'LOG_LEVEL'],
    ['LOG_LEVL', 'LOG_LEVEL'],
    ['APP_ENVIRONMENT', 'APP_ENV'],
    ['HOST_MODUL', 'HOST_MODULE'],
    ['OPS_PROT', 'OPS_PORT'],
    ['S3_BUCKET_NAME', 'S3_BUCKET'],
    ['OTEL_SAMPLE_RATIO', 'OTEL_SAMPLER_RATIO'],
    ['OTEL_EXPORTR', 'OTEL_EXPORTER'],
    ['DATABASE_POOL_SIZE', 'DATABASE_POOL_MAX'],
    ['EXECUTORS', 'EXECUTOR'],
    ['STREAM_MAX_BUFFER_BYTES', 'STREAM_MAX_BUFFERED_BYTES'],
    ['UPLOAD_MAX_FILESIZE_BYTES', 'UPLOAD_MAX_FILE_BYTES'],
    ['OWNERSHIP_POLICIES', 'OWNERSHIP_POLICY'],
    ['CANCEL_GRACE', 'CANCEL_GRACE_SECONDS'],
    ['BOOT_WAIT', 'BOOT_WAIT_SECONDS'],
    ['OPEN_TASKS', 'OPEN_TASKS_PER_PRINCIPAL'],
    ['WORKER_TOKENS_file', 'WORKER_TOKENS_FILE'],
  ];

  it.each(WRONG)('is refused in production: %s means %s', (written, meant) => {
    expect(linesOf({ ...PRODUCTION, [written]: 'hunter2' })).toEqual([
      `${written}: is no setting; did you mean ${meant}?`,
    ]);
  });

  it.each(WRONG)('has a line elsewhere: %s means %s', (written, meant) => {
    expect(readConfig({ [written]: 'hunter2' }).unknownSettings).toEqual([
      { name: written, why: `is no setting; did you mean ${meant}?` },
    ]);
  });

  it('is nothing when it is empty', () => {
    expect(linesOf({ ...PRODUCTION, WORKER_TOKEN: ' ' })).toEqual([]);
  });

  it.each(Object.keys(SETTINGS))(
    'is found for each setting: %s with an S or without, and with two letters swapped',
    (name) => {
      if (name.length < 6) return expect(readConfig({ [`TASKBRIDGE_${name}`]: '1' }).unknownSettings).toHaveLength(1);
      const wrong = [name.endsWith('S') ? name.slice(0, -1) : `${name}S`, name.replace(/(.)(.)$/, '$2$1')];
      for (const written of wrong.filter((other) => other !== name)) {
        expect(linesOf({ ...PRODUCTION, [written]: '1' })).toEqual([expect.stringMatching(/did you mean \w+\?$/)]);
      }
    },
  );

  it('stops a service of production at once, and is a line of the log of any other', async () => {
    const exit = await runToExit({ ...PRODUCTION, REQUIRE_AUTHENTICATED_PRINCIPLE: 'true' });
    expect([exit.code, exit.stderr]).toEqual([
      1,
      'REQUIRE_AUTHENTICATED_PRINCIPLE: is no setting; did you mean REQUIRE_AUTHENTICATED_PRINCIPAL?\n',
    ]);
    const database = await createTestDatabase();
    const service = await startService({ DATABASE_URL: database.appUrl, WORKER_TOKEN: 'hunter2' });
    const line = await eventually('the line', () =>
      service
        .stdout()
        .split('\n')
        .find((text) => text.includes('setting.unknown')),
    );
    expect(JSON.parse(line)).toMatchObject({
      level: 'warn',
      setting: 'WORKER_TOKEN',
      text: 'is no setting; did you mean WORKER_TOKENS?',
    });
    expect(service.stdout()).not.toContain('hunter2');
    await service.stop();
    await database.drop();
  });
});

describe('What stands in the environments of ordinary machines', () => {
  const link = (name: string, port = '6379') => ({
    [`${name}_SERVICE_HOST`]: '10.96.0.12',
    [`${name}_SERVICE_PORT`]: port,
    [`${name}_SERVICE_PORT_HTTP`]: port,
    [`${name}_PORT`]: `tcp://10.96.0.12:${port}`,
    [`${name}_PORT_${port}_TCP`]: `tcp://10.96.0.12:${port}`,
    [`${name}_PORT_${port}_TCP_PROTO`]: 'tcp',
    [`${name}_PORT_${port}_TCP_PORT`]: port,
    [`${name}_PORT_${port}_TCP_ADDR`]: '10.96.0.12',
  });
  const ENVIRONMENTS: Readonly<Record<string, Record<string, string>>> = {
    'a shell': Object.fromEntries(
      `PATH HOME USER LOGNAME SHELL TERM LANG LC_ALL PWD OLDPWD SHLVL _ HOSTNAME HOSTTYPE MACHTYPE OSTYPE MAIL EDITOR PAGER TMPDIR TZ
      DISPLAY SSH_CONNECTION SSH_AUTH_SOCK XDG_DATA_DIRS XDG_DATA_HOME XDG_RUNTIME_DIR XDG_CONFIG_DIRS DBUS_SESSION_BUS_ADDRESS
      LS_COLORS LESSOPEN COLORTERM VIRTUAL_ENV JAVA_HOME GOPATH CARGO_HOME PYTHONPATH http_proxy https_proxy no_proxy HTTP_PROXY
      HTTPS_PROXY NO_PROXY ALL_PROXY SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE DEBIAN_FRONTEND container`
        .split(/\s+/)
        .map((name) => [name, 'x']),
    ),
    'Node and npm': Object.fromEntries(
      `NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS NODE_VERSION YARN_VERSION NODE_NO_WARNINGS UV_THREADPOOL_SIZE NO_COLOR FORCE_COLOR
      DEBUG CI INIT_CWD COLOR npm_config_cache npm_config_log_level npm_package_name npm_lifecycle_event npm_node_execpath
      npm_config_user_agent npm_package_config_data_dir`
        .split(/\s+/)
        .map((name) => [name, 'x']),
    ),
    'Kubernetes, with services of any name': {
      ...link('KUBERNETES', '443'),
      ...link('REDIS'),
      ...link('TASKBRIDGE', '3000'),
      ...link('DATABASE', '5432'),
      ...link('POSTGRES', '5432'),
      ...link('WORKER', '8080'),
      ...link('UPLOAD', '8080'),
      ...link('S3', '9000'),
      ...link('LEASE', '80'),
      ...link('AUTH_PROXY', '80'),
      ...link('STREAM', '80'),
      POD_NAME: 'taskbridge-0',
      POD_IP: '10.1.2.3',
      POD_NAMESPACE: 'apps',
      NODE_NAME: 'node-1',
      HOST_IP: '10.0.0.1',
    },
    'PostgreSQL, Redis and platforms': Object.fromEntries(
      `PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE PGSSLMODE PGDATA PGAPPNAME PGTZ POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB
      POSTGRES_HOST POSTGRES_PORT POSTGRES_URL POSTGRES_PASSWORD_FILE DATABASE_HOST DATABASE_PORT DATABASE_NAME DATABASE_USER
      DATABASE_USERNAME DATABASE_PASSWORD DATABASE_URL_UNPOOLED REDIS_HOST REDIS_PORT REDIS_PASSWORD REDIS_TLS_URL REDISHOST DYNO
      AWS_REGION AWS_DEFAULT_REGION AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_ROLE_ARN
      AWS_WEB_IDENTITY_TOKEN_FILE AWS_SHARED_CREDENTIALS_FILE AWS_CONFIG_FILE AWS_CONTAINER_CREDENTIALS_FULL_URI
      ECS_CONTAINER_METADATA_URI_V4 TASK_SLOT TASK_ID NOMAD_TASK_NAME GOOGLE_APPLICATION_CREDENTIALS K_SERVICE K_REVISION
      WEBSITE_HOSTNAME INVOCATION_ID JOURNAL_STREAM NOTIFY_SOCKET CREDENTIALS_DIRECTORY SYSTEMD_EXEC_PID EXECUTOR_NUMBER WORKER_ID
      BUILD_NUMBER GITHUB_ACTIONS RUNNER_TEMP SERVICE_NAME APP_NAME APP_VERSION APP_PORT LOG_FORMAT LOG_DIR JWT_ISSUER JWT_JWKS
      GF_SERVER_ROOT_URL PROMETHEUS_PORT LD_LIBRARY_PATH MALLOC_ARENA_MAX TASKBRIDGE_URL`
        .split(/\s+/)
        .map((name) => [name, 'x']),
    ),
    'OpenTelemetry, without traces of ours': Object.fromEntries(
      `OTEL_SERVICE_NAME OTEL_RESOURCE_ATTRIBUTES OTEL_EXPORTER_OTLP_ENDPOINT OTEL_EXPORTER_OTLP_PROTOCOL OTEL_TRACES_EXPORTER
      OTEL_METRICS_EXPORTER OTEL_LOGS_EXPORTER OTEL_TRACES_SAMPLER OTEL_TRACES_SAMPLER_ARG OTEL_PROPAGATORS OTEL_LOG_LEVEL
      OTEL_SDK_DISABLED OTEL_BSP_SCHEDULE_DELAY OTEL_NODE_RESOURCE_DETECTORS OTEL_EXPORTER_OTLP_METRICS_ENDPOINT
      OTEL_RESOURCE_ATTRIBUTES_POD_NAME OTEL_RESOURCE_ATTRIBUTES_NODE_NAME`
        .split(/\s+/)
        .map((name) => [name, 'x']),
    ),
  };

  it.each(Object.entries(ENVIRONMENTS))('stops no boot, and is not told: %s', (_what, env) => {
    expect(linesOf({ ...env, ...PRODUCTION })).toEqual([]);
    expect(readConfig({ ...env }).unknownSettings).toBeUndefined();
  });

  it('has a line where it only looks like a service of Kubernetes', () => {
    expect(linesOf({ ...PRODUCTION, TASKBRIDGE_PORT: '8080' })).toEqual([
      'TASKBRIDGE_PORT: is no setting; did you mean PORT?',
    ]);
  });
});

describe('NODE_ENV=production', () => {
  it('needs APP_ENV, whatever else is set', () => {
    const line =
      'APP_ENV: is required where NODE_ENV is production: set production, or local for a machine of your own';
    expect(linesOf({ NODE_ENV: 'production' })).toEqual([line]);
    expect(linesOf({ NODE_ENV: ' Production ', DATABASE_URL: PRODUCTION.DATABASE_URL, APP_ENV: ' ' })).toEqual([line]);
  });

  it.each(['local', 'production'])('is content with APP_ENV %s', (name) => {
    expect(linesOf({ ...PRODUCTION, NODE_ENV: 'production', APP_ENV: name })).toEqual([]);
  });

  it('is nothing to a migration', () => {
    const env = { NODE_ENV: 'production', MIGRATION_DATABASE_URL: 'postgres://owner@db/taskbridge' };
    expect(linesOf(env, readMigrationConfig)).toEqual([]);
  });
});

describe('A setting by file', () => {
  let directory: string;
  const file = async (content: string | Buffer): Promise<string> => {
    const path = join(directory, String(Math.random()));
    await writeFile(path, content);
    return path;
  };

  beforeAll(async () => {
    directory = await temporaryDirectory();
    await mkdir(join(directory, 'empty'));
  });

  it.each(['', '\n', '\r\n', ' \n\n'])('is read without what is around it, such as %j', async (end) => {
    const env = { ...PRODUCTION, DATABASE_URL: '', DATABASE_URL_FILE: await file(`${PRODUCTION.DATABASE_URL}${end}`) };
    expect(readConfig(env).database.url).toBe(PRODUCTION.DATABASE_URL);
  });

  it.each(Object.keys(SETTINGS))('may be any: %s', async (name) => {
    const lines = linesOf({ [`${name}_FILE`]: await file('\u0001 never accepted \u0001') });
    expect(lines.filter((line) => !new RegExp(`^${name}(_FILE)?: `).test(line))).toEqual([]);
    expect(linesOf({ [`${name}_FILE`]: join(directory, 'missing') })).toEqual([
      `${name}_FILE: the file cannot be read (ENOENT)`,
    ]);
  });

  it('is judged as if it stood there', async () => {
    const env = { APP_ENV_FILE: await file('prod\n'), PORT_FILE: await file('80a') };
    expect(linesOf(env).map((line) => line.split(':', 1)[0])).toEqual([
      'PORT',
      'DATABASE_URL',
      'REDIS_URL',
      'REQUIRE_AUTHENTICATED_PRINCIPAL',
    ]);
    const delays = { DRAIN_DELAY_SECONDS_FILE: await file('26') };
    expect(linesOf(delays)).toEqual(['DRAIN_DELAY_SECONDS: must not be more than SHUTDOWN_GRACE_SECONDS']);
  });

  it.each([
    ['a file that is not there', async () => join(directory, 'missing'), 'the file cannot be read (ENOENT)'],
    ['a directory', async () => join(directory, 'empty'), 'names a directory, not a file'],
    ['a device', async () => '/dev/zero', 'names something that is no file'],
    ['an empty file', () => file(''), 'the file is empty'],
    ['a file of blanks', () => file(' \n '), 'the file is empty'],
    ['a large file', () => file(Buffer.alloc(1_100_000, 'hunter2')), 'the file has more than 1048576 bytes'],
  ])('is refused with %s', async (_what, path, text) => {
    const env = { ...PRODUCTION, WORKER_TOKENS_FILE: await path() };
    expect(linesOf(env)).toEqual([`WORKER_TOKENS_FILE: ${text}`]);
    const command = { MIGRATION_DATABASE_URL_FILE: await path() };
    expect(linesOf(command, readMigrationConfig)).toEqual([`MIGRATION_DATABASE_URL_FILE: ${text}`]);
  });

  it('is refused beside the setting itself', async () => {
    const env = { ...PRODUCTION, DATABASE_URL_FILE: await file(PRODUCTION.DATABASE_URL) };
    expect(linesOf(env)).toEqual(['DATABASE_URL: is set, and so is DATABASE_URL_FILE']);
  });

  it('is never told with what is in it', async () => {
    const lines = linesOf({ WORKER_TOKENS_FILE: await file('hunter2'), LEASE_SECONDS_FILE: await file('hunter2') });
    expect(lines).toHaveLength(2);
    expect(lines.join()).not.toContain('hunter2');
  });

  it('may be a secret of a library, which finds it where it looks', async () => {
    const env: NodeJS.ProcessEnv = { AWS_SECRET_ACCESS_KEY_FILE: await file('hunter2\n') };
    readConfig(env);
    expect(env).toEqual({ AWS_SECRET_ACCESS_KEY: 'hunter2' });
    const both = { AWS_SECRET_ACCESS_KEY: 'x', AWS_SECRET_ACCESS_KEY_FILE: await file('hunter2') };
    expect(linesOf(both)).toEqual(['AWS_SECRET_ACCESS_KEY: is set, and so is AWS_SECRET_ACCESS_KEY_FILE']);
  });
});

describe('An origin', () => {
  it.each([
    'https://*.example.com',
    'https://*',
    'https://app.*',
    '*',
    'null',
    'https://app.example.com/',
    'https://app.example.com/path',
    'https://app.example.com?x',
    'https://user@app.example.com',
    'https://App.example.com',
    'HTTPS://app.example.com',
    'https://app.example.com:443',
    'http://app.example.com:80',
    'https://bücher.example',
    'https://.example.com',
    'https://a..example.com',
    'https://[::1',
    'https:app.example.com',
    'ws://app.example.com',
    '/https:\\/\\/app/',
  ])('that no browser sends is refused, with what one is: %s', (origin) => {
    expect(linesOf({ ALLOWED_ORIGINS: `https://fine.example,${origin}` })).toEqual([
      'ALLOWED_ORIGINS: accepts a comma list, each item an origin as browsers send it, such as https://app.example.com: exact, ' +
        'without a wildcard, path, closing slash, default port or capital',
    ]);
  });

  it.each([
    'https://app.example.com',
    'http://localhost:5173',
    'http://[::1]:3000',
    'https://xn--bcher-kva.example',
    'http://10.0.0.1:80',
  ])('that browsers send is taken: %s', (origin) => {
    const expected = new URL(origin).origin === origin ? [] : [expect.stringContaining('ALLOWED_ORIGINS: accepts')];
    expect(linesOf({ ALLOWED_ORIGINS: origin })).toEqual(expected);
  });
});

describe('A value', () => {
  it('that stands in a list twice is there once', () => {
    const { execution, http } = readConfig({ EXECUTOR: 'inline,inline', ALLOWED_ORIGINS: 'https://a.b,https://a.b' });
    expect([execution.executors, http.allowedOrigins]).toEqual([['inline'], ['https://a.b']]);
  });

  it.each(['http://0.0.0.0', '0.0.0.0:3000', '[::]', '*', 'a b', '-', 'localhost/'])(
    'of HOST is refused: %s',
    (value) => {
      const lines = linesOf({ HOST: value });
      expect(lines).toEqual(
        value === '-' ? [] : ['HOST: accepts an address or host name to listen on, without a scheme or a port'],
      );
    },
  );

  it.each(['0.0.0.0', '::', '::1', 'fe80::1%eth0', 'localhost', 'pod-1.svc.local'])('of HOST is taken: %s', (value) => {
    expect(readConfig({ HOST: value }).http.host).toBe(value);
  });
});

describe('A variable of OpenTelemetry, where traces go by OTLP,', () => {
  const otlp = { OTEL_EXPORTER: 'otlp' };

  it.each([
    ['OTEL_EXPORTER_OTLP_PROTOCOL', 'grpc', 'accepts http/json or http/protobuf'],
    ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'http', 'accepts http/json or http/protobuf'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318', 'accepts a URL that begins with http:// or https://'],
    ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'collector', 'accepts a URL that begins with http:// or https://'],
    ['OTEL_EXPORTER_OTLP_TIMEOUT', '10s', 'accepts an integer from 1 to 2147483647'],
    ['OTEL_EXPORTER_OTLP_COMPRESSION', 'zstd', 'accepts none or gzip'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'hunter2', 'accepts a comma list, each item name=value'],
    ['OTEL_EXPORTER_OTLP_CERTIFICATE', '/nowhere', 'accepts the path of a file that can be read'],
    ['OTEL_TRACES_EXPORTER', 'zipkin', 'accepts otlp'],
    ['OTEL_METRICS_EXPORTER', 'otlp', 'accepts none'],
    ['OTEL_LOGS_EXPORTER', 'console', 'accepts none'],
    ['OTEL_PROPAGATORS', 'b3', 'accepts a comma list, each item tracecontext or baggage'],
    ['OTEL_SDK_DISABLED', 'yes', 'accepts true or false'],
    ['OTEL_BSP_SCHEDULE_DELAY', '5s', 'accepts an integer from 1 to 2147483647'],
  ])('%s=%s is refused everywhere', (name, value, text) => {
    expect(linesOf({ ...otlp, [name]: value })).toEqual([`${name}: ${text}`]);
    expect(linesOf({ ...PRODUCTION, ...otlp, [name]: value })).toEqual([`${name}: ${text}`]);
  });

  it.each([
    ['OTEL_TRACES_SAMPLER', 'is not honoured: set OTEL_SAMPLER_RATIO'],
    ['OTEL_TRACES_SAMPLER_ARG', 'is not honoured: set OTEL_SAMPLER_RATIO'],
    ['OTEL_LOG_LEVEL', 'is not honoured: what goes wrong with traces is in the log, as tracing.problem'],
    ['OTEL_EXPORTER_OTLP_INSECURE', 'is not honoured: the scheme of the endpoint says it'],
    ['OTEL_EXPORTER_OTLP_METRICS_ENDPOINT', 'is not honoured: metrics are at /metrics'],
    ['OTEL_EXPORTER_OTLP_LOGS_ENDPOINT', 'is not honoured: logs are lines on standard output'],
    ['OTEL_EXPORTER_ZIPKIN_ENDPOINT', 'is not honoured: traces go by OTLP over HTTP'],
    ['OTEL_EXPORTER_OTLP_ENDPONT', 'is not honoured: traces go by OTLP over HTTP'],
    ['OTEL_NODE_RESOURCE_DETECTORS', 'is not honoured: instrumentations and detectors are fixed'],
    ['OTEL_LINK_ATTRIBUTE_COUNT_LIMIT', 'is not honoured'],
    ['OTEL_CONFIG_FILE', 'is not honoured'],
  ])('%s is refused in production, and told elsewhere', (name, why) => {
    expect(linesOf({ ...PRODUCTION, ...otlp, [name]: 'x' })).toEqual([`${name}: ${why}`]);
    expect(readConfig({ ...otlp, [name]: 'x' }).unknownSettings).toEqual([{ name, why }]);
  });

  it('is taken as it is meant', () => {
    const env = {
      ...PRODUCTION,
      ...otlp,
      OTEL_SERVICE_NAME: 'bridge',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://collector/v1/traces',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20x,x-tenant=a',
      OTEL_EXPORTER_OTLP_TIMEOUT: '5000',
      OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment=prod,service.version=1',
      OTEL_PROPAGATORS: 'tracecontext,baggage',
      OTEL_TRACES_EXPORTER: 'otlp',
      OTEL_METRICS_EXPORTER: 'none',
    };
    expect(linesOf(env)).toEqual([]);
  });
});
