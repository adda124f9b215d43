import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Buildah, type Container, killContainers, type Running } from '../support/buildah.js';
import { freePort } from '../support/free-port.js';
import { startNetworkPostgres } from '../support/network-postgres.js';
import { startNginx } from '../support/nginx.js';
import { startRedis } from '../support/redis.js';
import { eventually } from '../support/service.js';
import { cleanUp } from '../support/without-jest.js';
import { debianMirror, makeBaseImage, npmVolumes } from './base-image.js';

// `npm run test:image`: builds the production image and the image to try it, as the Dockerfile says, and runs both. No container engine
// and no registry of images is needed: buildah works by chroot, on a base of Debian's packages.

const run = promisify(execFile);
const context = fileURLToPath(new URL('../../', import.meta.url));
const BASE = 'node:24-slim';
const PROGRAMS = ['buildah', 'debootstrap'];
const MIB_OVER_BASE = { production: 220, try: 250 };
const PASSWORD = 'password-of-alice';
const SECRET = 'the-proxy-proves-itself-with-this';
const MIB = 1024;

let passed = 0;
let failed = 0;

async function check(what: string, holds: () => Promise<unknown>): Promise<void> {
  try {
    await holds();
    passed++;
    console.log(`  passed: ${what}`);
  } catch (error) {
    failed++;
    console.log(`  FAILED: ${what}\n${error instanceof Error ? error.stack : String(error)}`);
  }
}

/** Says how long a part took. */
async function part<T>(what: string, perform: () => Promise<T>): Promise<T> {
  const began = Date.now();
  const result = await perform();
  console.log(`${what}: ${((Date.now() - began) / 60_000).toFixed(1)} minutes`);
  return result;
}

/** What this machine lacks. buildah and debootstrap are installed from Debian's packages. */
async function whatIsMissing(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'Linux, with buildah and debootstrap';
  if (process.getuid?.() !== 0) return 'root: buildah and debootstrap make mounts and device files';
  if (process.env['npm_execpath'] === undefined) return 'npm: start this by `npm run test:image`';
  const installs = (await Promise.all(PROGRAMS.map(async (name) => ((await isOnPath(name)) ? [] : [name])))).flat();
  try {
    if ((await debianMirror()) === undefined) await run('apt-get', ['update']);
    if (installs.length > 0) {
      console.log(`installing ${installs.join(' and ')} from Debian's packages`);
      const install = () => run('apt-get', ['install', '--yes', '--no-install-recommends', ...installs]);
      await install().catch(async () => {
        await run('apt-get', ['update']);
        await install();
      });
    }
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    return `${installs.join(' and ') || 'apt'}: ${(stderr?.trim() || message).split('\n').at(-1)}`;
  }
  return (await debianMirror()) === undefined
    ? 'Debian 12 in the package sources of apt, for the base image'
    : undefined;
}

function isOnPath(name: string): Promise<boolean> {
  return run('sh', ['-c', `command -v ${name}`]).then(
    () => true,
    () => false,
  );
}

async function usedKib(...paths: string[]): Promise<number[]> {
  const { stdout } = await run('du', ['--summarize', '--one-file-system', '--block-size=1K', ...paths]);
  return stdout.trimEnd().split('\n').map(Number.parseFloat);
}

async function checkSize(container: Container, baseKib: number, limitMib: number): Promise<void> {
  const [kib = 0] = await usedKib(container.root);
  const over = (kib - baseKib) / MIB;
  const app = join(container.root, 'app');
  const within = async (path: string) => (await readdir(join(app, path))).map((name) => join(path, name));
  const parts = (await Promise.all(['', 'packages', 'node_modules'].map(within))).flat();
  const weighed = parts.filter((path) => !['packages', 'node_modules'].includes(path));
  const weights = await usedKib(...weighed.map((path) => join(app, path)));
  const heaviest = weighed
    .map((path, index) => ({ path, mib: (weights[index] ?? 0) / MIB }))
    .sort((a, b) => b.mib - a.mib)
    .slice(0, 10);
  console.log(`  ${over.toFixed(1)} MiB over the base of ${(baseKib / MIB).toFixed(1)} MiB. What weighs most:`);
  for (const { path, mib } of heaviest) console.log(`    ${mib.toFixed(1).padStart(5)} MiB  /app/${path}`);
  await check(`it is at most ${limitMib} MiB over its base`, async () => assert.ok(over <= limitMib));
}

async function checkUser(container: Container): Promise<void> {
  await check('it runs as uid 1000, without a capability', async () => {
    const { output } = await container.execute(['sh', '-c', 'id -u; id -g; grep CapEff /proc/self/status']);
    assert.deepEqual(output.trim().split(/\s+/), ['1000', '1000', 'CapEff:', '0000000000000000']);
  });
}

/** Where clients reach it, and the headers that they send. */
interface Front {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

async function createTask({ url, headers }: Front, taskType: string, input: object): Promise<string> {
  const answer = await fetch(`${url}/api/v1/tasks`, {
    method: 'POST',
    headers: { ...headers, 'Content-Type': 'application/json' },
    body: JSON.stringify({ clientRequestId: taskType, taskType, input }),
  });
  assert.equal(answer.status, 201, await answer.clone().text());
  return ((await answer.json()) as { taskId: string }).taskId;
}

function follow({ url, headers }: Front, taskId: string): Promise<Response> {
  return fetch(`${url}/api/v1/tasks/${taskId}/events/stream`, { headers });
}

async function checkTask(front: Front): Promise<void> {
  await check('a task runs to its end, and its events are followed', async () => {
    const taskId = await createTask(front, 'demo.greet', { name: 'Ada', stepMs: 10 });
    const events = await follow(front, taskId);
    assert.match(await events.text(), /TASK_COMPLETED.*Hello, Ada!/);
  });
}

async function checkConsole({ url, headers }: Front): Promise<void> {
  await check('the first page of the console comes with its scripts and styles', async () => {
    const page = await fetch(`${url}/console/`, { headers });
    assert.equal(page.status, 200);
    const files = [...(await page.text()).matchAll(/(?:src|href)="(\/console\/[^"]+\.(?:js|css))"/g)].map(
      ([, path]) => path,
    );
    assert.ok(files.some((path) => path?.endsWith('.js')) && files.some((path) => path?.endsWith('.css')));
    for (const path of files) {
      const file = await fetch(`${url}${path}`, { headers });
      assert.equal(file.status, 200, path);
      assert.match(file.headers.get('content-type') ?? '', path?.endsWith('.js') ? /^text\/javascript/ : /^text\/css/);
      assert.notEqual(await file.text(), '', path);
    }
  });
}

async function checkDrain(running: Running, front: Front): Promise<void> {
  await check('SIGTERM drains it while a task is followed, and it exits with 0', async () => {
    const taskId = await createTask(front, 'demo.steps', { steps: 100, stepMs: 500 });
    const stream = await follow(front, taskId);
    const reader = stream.body?.getReader();
    await reader?.read();
    const began = Date.now();
    await running.signal('SIGTERM');
    while (!(await reader?.read())?.done);
    const { code, output } = await running.exited;
    assert.equal(code, 0, output);
    assert.ok(Date.now() - began < 30_000);
  });
}

async function untilHealthy(container: Container, running: Running, env: Record<string, string>): Promise<void> {
  await eventually(
    'its health check passes',
    async () => running.hasEnded || (await container.execute(container.healthcheck, { env })).code === 0,
    60_000,
  );
  assert.ok(!running.hasEnded, running.output);
}

async function runProduction(container: Container, directory: string): Promise<void> {
  const roles = ['owner', 'app', 'retention'].map((role) => `taskbridge_${role}`);
  const postgres = await startNetworkPostgres(roles.map((role) => `host taskbridge ${role} 127.0.0.1/32 trust`));
  const redis = await startRedis();
  try {
    await postgres.asSuperuser(
      'postgres',
      'CREATE ROLE taskbridge_owner LOGIN CREATEROLE',
      'CREATE DATABASE taskbridge OWNER taskbridge_owner',
    );
    const urlOf = (role: string) => `postgresql://${role}@127.0.0.1:${postgres.port}/taskbridge`;
    const secrets = join(directory, 'secrets');
    await run('install', ['--directory', '--mode=755', secrets]);
    await writeFile(join(secrets, 'owner'), `${urlOf('taskbridge_owner')}\n`);
    await writeFile(join(secrets, 'app'), `${urlOf('taskbridge_app')}\n`);
    await writeFile(join(secrets, 'proxy'), `${SECRET}\n`);
    const volumes = { '/run/secrets': secrets };
    const port = await freePort();
    const env = {
      PORT: String(port),
      HOST: '127.0.0.1',
      DATABASE_URL_FILE: '/run/secrets/app',
      AUTH_PROXY_SECRET_FILE: '/run/secrets/proxy',
      REDIS_URL: redis.url,
      REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
      CONSOLE: 'true',
      DEMO_TASKS: 'true',
    };

    await check('it refuses to serve with nothing but its own environment', async () => {
      const { code, output } = await (await container.serve()).exited;
      assert.equal(code, 1, output);
      assert.match(output, /^DATABASE_URL: is required in production-like environments/m);
      assert.match(output, /^REQUIRE_AUTHENTICATED_PRINCIPAL: must be true/m);
    });
    await check('it migrates as the owner', async () => {
      const migration = { env: { MIGRATION_DATABASE_URL_FILE: '/run/secrets/owner' }, volumes };
      const { code, output } = await container.execute(['node', 'dist/migrate.js'], migration);
      assert.equal(code, 0, output);
      assert.match(output, /^applied 0001_foundation\.sql/m);
    });
    await check('it refuses to serve as the owner of the tables', async () => {
      const unsafe = { env: { ...env, DATABASE_URL_FILE: '/run/secrets/owner' }, volumes };
      const { code, output } = await (await container.serve(unsafe)).exited;
      assert.equal(code, 1, output);
      assert.match(output, /taskbridge_owner/);
    });
    await checkUser(container);
    await check('its root file system is read-only: nothing can be written, also not to /tmp', async () => {
      for (const path of ['/app/x', '/app/dist/main.js', '/tmp/x', '/data/x']) {
        const { code, output } = await container.execute(['sh', '-c', `echo x >> ${path}`]);
        assert.notEqual(code, 0, path);
        assert.match(output, /Read-only file system|Permission denied/, path);
      }
    });

    const nginx = await startNginx({
      upstream: `http://127.0.0.1:${port}`,
      secret: SECRET,
      users: { alice: PASSWORD },
    });
    const login = { Authorization: `Basic ${Buffer.from(`alice:${PASSWORD}`).toString('base64')}` };
    const front = { url: nginx.url, headers: login };
    const running = await container.serve({ env, volumes });
    await check('it starts as the app role, on a read-only root, and is healthy', () =>
      untilHealthy(container, running, env),
    );
    await checkTask(front);
    await checkConsole(front);
    await check('nobody without a login is served', async () => {
      assert.equal((await fetch(`${nginx.url}/api/v1/tasks`)).status, 401);
    });
    await checkDrain(running, front);
  } finally {
    killContainers();
    await redis.stop();
    await postgres.stop();
  }
}

async function runTry(container: Container): Promise<void> {
  const env = { PORT: String(await freePort()) };
  const front = { url: `http://127.0.0.1:${env.PORT}`, headers: {} };
  await checkUser(container);
  const running = await container.serve({ env, readOnly: false });
  try {
    await check('it starts with one command and no setting, and is healthy', () =>
      untilHealthy(container, running, env),
    );
    await check('it serves on all addresses, so a published port leads to it', async () => {
      const taken = createServer().listen(Number(env.PORT), '0.0.0.0');
      const [error] = (await once(taken, 'error')) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'EADDRINUSE');
    });
    await checkTask(front);
    await checkConsole(front);
    await checkDrain(running, front);
    await check('its PostgreSQL has ended in order', async () => {
      await assert.rejects(access(join(container.root, 'data/postgres/cluster/postmaster.pid')));
      await access(join(container.root, 'data/postgres/cluster/PG_VERSION'));
    });
  } finally {
    killContainers();
  }
}

async function main(): Promise<void> {
  const missing = await whatIsMissing();
  if (missing !== undefined) {
    console.log(`test:image did not run. Missing: ${missing}`);
    process.exitCode = 1;
    return;
  }
  const directory = await mkdtemp(join(tmpdir(), 'taskbridge-images-'));
  await chmod(directory, 0o755);
  const buildah = new Buildah(directory);
  const leaveNothing = async () => {
    killContainers();
    await cleanUp();
    await rm(directory, { recursive: true, force: true });
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void leaveNothing().finally(() => process.exit(1)));
  }
  try {
    const mirror = (await debianMirror()) ?? '';
    await part('the base image', () => makeBaseImage(buildah, BASE, mirror, process.env['npm_execpath'] ?? ''));
    const [baseKib = 0] = await usedKib((await buildah.container(BASE)).root);
    const volumes = await npmVolumes(directory);

    await part('the production image', () => buildah.build({ context, tag: 'taskbridge', volumes }));
    const production = await buildah.container('taskbridge');
    await checkSize(production, baseKib, MIB_OVER_BASE.production);
    await part('running the production image', () => runProduction(production, directory));
    await buildah.ask('rm', production.name);

    await part('the image to try', () => buildah.build({ context, target: 'try', tag: 'taskbridge:try', volumes }));
    const tried = await buildah.container('taskbridge:try');
    await checkSize(tried, baseKib, MIB_OVER_BASE.try);
    await part('running the image to try', () => runTry(tried));
    console.log(
      'Not shown by chroot: tini as process 1, a network of its own with published ports, and limits of memory and processors.',
    );
  } finally {
    await leaveNothing();
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

await main().catch((error: unknown) => {
  console.log(error instanceof Error ? error.message : error);
  console.log(`${passed} passed, ${failed + 1} failed`);
  process.exitCode = 1;
});
