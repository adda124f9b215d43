import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { exportJWK, generateKeyPair, type GenerateKeyPairResult, SignJWT } from 'jose';
import { Client, type CreateBody, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { storedEnvelopes } from '../support/fold.js';
import { followWebSocket } from '../support/follow.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, runToExit, type Service, startService, temporaryDirectory } from '../support/service.js';

const example = (name: string) => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));

let database: TestDatabase;
/** A directory outside of the repository. No directory above it has node_modules. */
let elsewhere: string;

beforeAll(async () => {
  [database, elsewhere] = await Promise.all([createTestDatabase(), temporaryDirectory()]);
});

afterAll(() => database.drop());

const started = (env: Record<string, string>) =>
  startService({ DATABASE_URL: database.appUrl, ...env }, { lifetime: 'file' });

async function resultOf(client: Client, body: Omit<CreateBody, 'clientRequestId'>): Promise<unknown> {
  const { taskId } = (await client.create({ clientRequestId: uniqueId(), ...body })).body;
  await followWebSocket(client.url, taskId, null, client.headers).end();
  const { status, result } = (await client.snapshot(taskId)).body;
  return { status, result };
}

describe('examples/first-handler.mjs', () => {
  let service: Service;

  beforeAll(async () => {
    await copyFile(example('first-handler.mjs'), join(elsewhere, 'first-handler.mjs'));
    service = await started({ HOST_MODULE: join(elsewhere, 'first-handler.mjs') });
  });

  it('adds a task type, mounted from anywhere', async () => {
    expect(await resultOf(newPrincipal(service.url), { taskType: 'shout', input: { text: 'hello' } })).toEqual({
      status: 'COMPLETED',
      result: { text: 'HELLO!' },
    });
  });

  it('leaves the demo in place', async () => {
    expect(await resultOf(newPrincipal(service.url), { taskType: 'demo.echo', input: { a: 1 } })).toEqual({
      status: 'COMPLETED',
      result: { a: 1 },
    });
  });
});

describe('examples/host-module', () => {
  const identity = { JWT_ISSUER: 'https://login.example', JWT_AUDIENCE: 'taskbridge' };
  let keys: GenerateKeyPairResult;
  let service: Service;

  beforeAll(async () => {
    keys = await generateKeyPair('ES256');
    await mkdir(join(elsewhere, 'host'));
    await copyFile(example('host-module/index.mjs'), join(elsewhere, 'host', 'index.mjs'));
    const jwks = { keys: [await exportJWK(keys.publicKey)] };
    const host = { HOST_MODULE: join(elsewhere, 'host', 'index.mjs'), JWT_JWKS: JSON.stringify(jwks), ...identity };
    service = await started({ ...host, REQUIRE_AUTHENTICATED_PRINCIPAL: 'true' });
  });

  interface Claims {
    readonly sub?: string;
    readonly tenant?: string;
    readonly scope?: string;
    readonly expiresAt?: string;
    readonly audience?: string;
    readonly key?: GenerateKeyPairResult['privateKey'];
  }

  const tokenOf = ({ sub = 'ada', tenant = 'acme', scope = 'tasks:read tasks:write', ...more }: Claims = {}) =>
    new SignJWT({ tenant, scope })
      .setProtectedHeader({ alg: 'ES256' })
      .setSubject(sub)
      .setIssuer(identity.JWT_ISSUER)
      .setAudience(more.audience ?? identity.JWT_AUDIENCE)
      .setExpirationTime(more.expiresAt ?? '5 minutes from now')
      .sign(more.key ?? keys.privateKey);

  /** A client that proves who it is with a token, and with nothing else. */
  class Bearer extends Client {
    constructor(
      url: string,
      private readonly token: string,
    ) {
      super(url);
    }

    override get headers() {
      return { Authorization: `Bearer ${this.token}` };
    }
  }

  const signedIn = async (claims?: Claims) => new Bearer(service.url, await tokenOf(claims));
  const sum: CreateBody = { taskType: 'acme.sum', input: { numbers: [1, 2, 39] } };
  const created = async (client: Client) => (await client.create({ clientRequestId: uniqueId(), ...sum })).body.taskId;

  it('runs its handler for a caller with a valid token', async () => {
    expect(await resultOf(await signedIn(), sum)).toEqual({ status: 'COMPLETED', result: { sum: 42 } });
  });

  it('acts as the subject of the token', async () => {
    const taskId = await created(await signedIn({ sub: 'grace' }));
    const taskIdsOf = async (sub: string) => (await (await signedIn({ sub })).list()).body.items.map((t) => t.taskId);
    expect(await taskIdsOf('grace')).toEqual([taskId]);
    expect(await taskIdsOf('ada')).not.toContain(taskId);
  });

  it('refuses expired, forged, misdirected and missing tokens', async () => {
    const { privateKey } = await generateKeyPair('ES256');
    const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${(await tokenOf()).split('.')[1]}.`;
    const tokens = [
      await tokenOf({ expiresAt: '1 minute ago' }),
      await tokenOf({ key: privateKey }),
      await tokenOf({ audience: 'another-service' }),
      await tokenOf({ sub: '00000000-0000-0000-0000-000000000000' }),
      unsigned,
      'no-token',
      '',
    ];
    for (const token of tokens) {
      expectError(await new Bearer(service.url, token).list(), 401, 'AUTHENTICATION_ERROR');
    }
    expectError(await new Client(service.url).list(), 401, 'AUTHENTICATION_ERROR');
  });

  it('refuses the upgrade of a WebSocket in the same way', async () => {
    const taskId = await created(await signedIn());
    const late = new Bearer(service.url, await tokenOf({ expiresAt: '1 minute ago' }));
    const reader = followWebSocket(service.url, taskId, null, late.headers);
    expect(await reader.end()).toMatchObject({ kind: 'status', code: 401 });
    expect(reader.events).toEqual([]);
  });

  it('demands the scopes of the token', async () => {
    const reader = await signedIn({ scope: 'tasks:read' });
    expectError(await reader.create({ clientRequestId: uniqueId(), ...sum }), 403, 'ACCESS_DENIED');
  });

  it('lets a tenant mate read and not control, an admin of the tenant both, and a stranger neither', async () => {
    const taskId = await created(await signedIn());
    const outcomes = async (claims: Claims) => {
      const client = await signedIn(claims);
      return [(await client.snapshot(taskId)).status, (await client.cancel(taskId)).status];
    };
    expect(await outcomes({ sub: 'grace' })).toEqual([200, 404]);
    expect(await outcomes({ sub: 'grace', scope: 'tasks:read tasks:write tasks:admin' })).toEqual([200, 202]);
    expect(await outcomes({ tenant: 'umbrella' })).toEqual([404, 404]);
  });

  it('leaves nothing of the resolver and the policy that it replaces', async () => {
    const byHeader = new Client(service.url, 'ada');
    expectError(await byHeader.list(), 401, 'AUTHENTICATION_ERROR');
    // The header names a principal of its own; the default policy would let anybody create a demo task.
    const client = await signedIn({ sub: uniqueId() });
    const forged = { 'X-Principal-Id': 'ada', 'X-Tenant-Id': 'umbrella' };
    const { taskId } = (await client.create({ clientRequestId: uniqueId(), ...sum }, forged)).body;
    expect((await client.list()).body.items.map((task) => task.taskId)).toEqual([taskId]);
    const demo = { clientRequestId: uniqueId(), taskType: 'demo.echo' };
    expectError(await client.create(demo), 403, 'TASK_OWNERSHIP_ERROR');
  });

  it('answers 503 and not 401 while the key server is down', async () => {
    const env = { HOST_MODULE: join(elsewhere, 'host', 'index.mjs'), JWT_JWKS_URL: 'http://127.0.0.1:1/', ...identity };
    const other = await startService({ DATABASE_URL: database.appUrl, ...env });
    expectError(await new Bearer(other.url, await tokenOf()).list(), 503, 'SERVICE_UNAVAILABLE');
    await other.stop();
  });
});

describe('A HOST_MODULE that cannot be used', () => {
  it.each([
    ['does not exist', undefined, /cannot be loaded: Cannot find module/],
    ['has no default export', 'export const module = class {};', /must have a Nest module as its default export/],
    ['has a default export that is no module', 'export default { providers: [] };', /must have a Nest module/],
    ['throws', 'throw new Error("JWT_ISSUER is required\\nsecond line");', /cannot be loaded: JWT_ISSUER is required$/],
    ['throws what is no error', 'throw null;', /cannot be loaded: unknown error$/],
    ['is no JavaScript', 'export default {', /cannot be loaded: /],
    [
      'imports what is not there',
      'import "not-installed";',
      /Cannot find package 'not-installed' imported from \/.*there\.mjs$/,
    ],
    [
      'has a provider that throws',
      `import { AuthContextResolver } from 'taskbridge';
      const useFactory = () => { throw new Error('JWT_JWKS_URL is required'); };
      export default { module: class Host {}, providers: [{ provide: AuthContextResolver, useFactory }] };`,
      /cannot be built: JWT_JWKS_URL is required$/,
    ],
    [
      'has a class that throws',
      `import { OwnershipPolicy } from 'taskbridge';
      class Ours extends OwnershipPolicy { #rules = null.rules; }
      export default { module: class Host {}, providers: [{ provide: OwnershipPolicy, useClass: Ours }] };`,
      /cannot be built: Cannot read properties of null/,
    ],
    [
      'asks for what nobody provides',
      `export default { module: class Host {}, providers: [{ provide: 'ours', useFactory: () => 1, inject: ['theirs'] }] };`,
      /cannot be built: Nest can't resolve dependencies/,
    ],
  ])('because it %s is refused in one line, and nothing listens', async (what, source, reason) => {
    const path = join(elsewhere, `${what.replaceAll(' ', '-')}.mjs`);
    if (source !== undefined) await writeFile(path, source);
    const run = await runToExit({ DATABASE_URL: database.appUrl, HOST_MODULE: path });
    expect({ code: run.code, listened: run.listened }).toEqual({ code: 1, listened: false });
    expect(run.stderr.trim().split('\n')).toEqual([expect.stringMatching(/^HOST_MODULE: /)]);
    expect(run.stderr.trim()).toMatch(reason);
  });
});

describe('examples/follow.mjs', () => {
  const running = new Set<ChildProcess>();

  afterAll(() => {
    for (const child of running) child.kill('SIGKILL');
  });

  const follow = (parameters: readonly string[], nodeOptions: readonly string[] = []) => {
    const child = spawn(process.execPath, [...nodeOptions, example('follow.mjs'), ...parameters]);
    running.add(child);
    const output = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
    const exited = once(child, 'close').then(([code]) => {
      running.delete(child);
      return code as number | null;
    });
    const lines = () => output.stdout.split('\n').filter((line) => line !== '');
    return { lines, stderr: () => output.stderr, exited };
  };

  /** Node without a WebSocket, as Node 20 is; and with a network in between that breaks event streams, too. */
  const preload = (source: string) => ['--import', `data:text/javascript,${encodeURIComponent(source)}`];
  const withoutSse = `const { fetch } = globalThis;
    globalThis.fetch = async (url, init) => {
      if (url.endsWith('/stream')) throw new Error('no streams here');
      return fetch(url, init);
    };`;
  const networks = [[], preload('delete globalThis.WebSocket;'), preload(`delete globalThis.WebSocket; ${withoutSse}`)];

  /** What it prints of a task when it sees all of it. */
  const storedLines = async (of: TestDatabase, taskId: string) =>
    (await storedEnvelopes(of.superuserUrl, taskId)).map((raw) => {
      const { eventId, type, payload } = JSON.parse(raw) as { eventId: string; type: string; payload: unknown };
      return `${eventId} ${type} ${JSON.stringify(payload)}`;
    });

  it('takes an empty stream for a cut: tries what is next, and comes back', async () => {
    const service = await startService({ DATABASE_URL: database.appUrl });
    const client = newPrincipal(service.url);
    const body = { clientRequestId: uniqueId(), taskType: 'demo.greet', input: { steps: 1, stepMs: 1 } };
    const { taskId } = (await client.create(body)).body;
    // The nginx of deploy answers so. It happens three times.
    const away = preload(`delete globalThis.WebSocket;
      const { fetch } = globalThis;
      let rounds = 0;
      globalThis.fetch = async (url, init) => {
        if (rounds < 3 && url.endsWith('/stream')) return new Response('retry: 2000\\n\\n');
        if (rounds < 3 && url.includes('/events?')) return new Response('{}', { status: 503 + 0 * ++rounds });
        return fetch(url, init);
      };`);
    const follower = follow([taskId, '--url', service.url, '--principal', client.principal ?? ''], away);
    expect(await follower.exited).toBe(0);
    const round =
      '# byWebSocket: WebSocket is not defined, bySse: ended, byLongPoll: refused with 503; will resume after event 0\n';
    expect(follower.stderr()).toBe(round.repeat(3));
    expect(follower.lines()).toEqual(await storedLines(database, taskId));
    await service.stop();
  });

  // Those that mostly wait run beside each other, each with a database of its own.
  it.concurrent('sees the ids go on by WebSocket, SSE or long-poll while the service is killed and started again', async () => {
    // Attempts without end: on a busy machine a lease as short as this may be lost once more.
    // A database of its own: else a service of another test may have the tasks, and it is not killed.
    const own = await createTestDatabase();
    const env = { DATABASE_URL: own.appUrl, LEASE_SECONDS: '2', TASK_MAX_ATTEMPTS: '100' };
    const first = await startService(env);
    const client = newPrincipal(first.url);
    const follows = networks.map(async (options) => {
      const body = { clientRequestId: uniqueId(), taskType: 'demo.stream', input: { chunks: 240, intervalMs: 50 } };
      const { taskId } = (await client.create(body)).body;
      const follower = follow([taskId, '--url', first.url, '--principal', client.principal ?? ''], options);
      await eventually('some events', () => follower.lines().length >= 5);
      return { taskId, follower };
    });
    const followers = await Promise.all(follows);
    first.kill('SIGKILL');
    await first.exited;
    const second = await startService({ ...env, PORT: new URL(first.url).port });
    for (const { taskId, follower } of followers) {
      expect(await follower.exited).toBe(0);
      expect(follower.lines()).toEqual(await storedLines(own, taskId));
      expect(follower.lines().map((line) => Number(line.split(' ')[0]))).toEqual(follower.lines().map((_, n) => n + 1));
      expect(follower.lines().some((line) => line.includes('TASK_RETRYING'))).toBe(true);
      expect(follower.stderr()).toMatch(/will resume after event \d+/);
      expect(follower.stderr()).not.toContain('PROMISE BROKEN');
    }
    await second.stop();
    await own.drop();
  }, 120_000);

  /** Counts the WebSockets that it opens, and what they offer. */
  const counted = preload(`const { WebSocket } = globalThis;
    globalThis.WebSocket = class extends WebSocket {
      constructor(url, options) {
        super(url, options);
        this.addEventListener('open', () => console.error('# opened', JSON.stringify(this.protocol)));
      }
    };`);

  it.concurrent.each([
    ['over one connection for all', counted],
    ['each alone where no WebSocket gets through', preload('delete globalThis.WebSocket;')],
  ])(
    'sees the ids of several tasks go on while the service is killed and started again, %s',
    async (_, options) => {
      const own = await createTestDatabase();
      const env = { DATABASE_URL: own.appUrl, LEASE_SECONDS: '2', TASK_MAX_ATTEMPTS: '100' };
      const first = await startService(env);
      const client = newPrincipal(first.url);
      const created = await Promise.all(
        [0, 50, 80, 80].map(async (chunks) => {
          const body = { clientRequestId: uniqueId(), taskType: 'demo.stream', input: { chunks, intervalMs: 50 } };
          return (await client.create(body)).body.taskId;
        }),
      );
      const absent = uniqueId();
      const follower = follow([...created, absent, '--url', first.url, '--principal', client.principal ?? ''], options);
      const of = (taskId: string) =>
        follower.lines().flatMap((line) => (line.startsWith(`${taskId} `) ? [line.slice(taskId.length + 1)] : []));
      await eventually('some events of each', () => created.slice(1).every((taskId) => of(taskId).length >= 5));
      first.kill('SIGKILL');
      await first.exited;
      const second = await startService({ ...env, PORT: new URL(first.url).port });
      // One of them is not there, so not all of them completed.
      expect(await follower.exited).toBe(1);
      await second.stop();

      for (const taskId of created) {
        const stored = await storedLines(own, taskId);
        expect(of(taskId)).toEqual(stored);
        expect(stored.at(-1)).toContain('TASK_COMPLETED');
      }
      expect(follower.lines().length).toBe(created.reduce((sum, taskId) => sum + of(taskId).length, 0));
      expect(follower.stderr()).toContain(`# ${absent}: TASK_NOT_FOUND\n`);
      expect(follower.stderr().split(absent)).toHaveLength(2);
      expect(follower.stderr()).not.toContain('PROMISE BROKEN');
      if (options === counted) {
        expect(follower.stderr().match(/# opened .*/g)).toEqual(Array(2).fill('# opened "taskbridge.multiplex.v1"'));
      }
      await own.drop();
    },
    120_000,
  );

  it('subscribes again to what it is refused for a while, on the same connection', async () => {
    const env = { STREAMS_PER_PRINCIPAL: '2', HEARTBEAT_SECONDS: '1' };
    const service = await started(env);
    const client = newPrincipal(service.url);
    const created = await Promise.all(
      [1, 2, 3, 4].map(async () => {
        const body = { clientRequestId: uniqueId(), taskType: 'demo.greet', input: { steps: 5, stepMs: 20 } };
        return (await client.create(body)).body.taskId;
      }),
    );
    const follower = follow([...created, '--url', service.url, '--principal', client.principal ?? ''], counted);
    expect({ code: await follower.exited, stderr: follower.stderr() }).toEqual({
      code: 0,
      stderr: '# opened "taskbridge.multiplex.v1"\n',
    });
    expect(follower.lines().length).toBe(4 * 7);
  }, 60_000);

  it.concurrent('comes back when a draining service says, and not before', async () => {
    const own = await createTestDatabase();
    const env = { DATABASE_URL: own.appUrl, LEASE_SECONDS: '2', TASK_MAX_ATTEMPTS: '100' };
    const first = await startService(env);
    const client = newPrincipal(first.url);
    const created = await Promise.all(
      [1, 2].map(async () => {
        const body = { clientRequestId: uniqueId(), taskType: 'demo.stream', input: { chunks: 200, intervalMs: 50 } };
        return (await client.create(body)).body.taskId;
      }),
    );
    const follower = follow([...created, '--url', first.url, '--principal', client.principal ?? '']);
    await eventually('some events', () => follower.lines().length >= 10);
    expect(await first.stop()).toEqual({ code: 0, signal: null });
    const second = await startService({ ...env, PORT: new URL(first.url).port });
    expect(await follower.exited).toBe(0);
    expect(follower.stderr()).toMatch(/^# byWebSocket: closed with 1012 DRAINING; will resume after event \d+, \d+\n/);
    expect(follower.stderr()).not.toContain('PROMISE BROKEN');
    await second.stop();
    await own.drop();
  }, 60_000);

  describe('about a task that is over', () => {
    let service: Service;
    let client: Client;

    beforeAll(async () => {
      service = await started({});
      client = newPrincipal(service.url);
    });

    const ended = async (taskType: string) => {
      const { taskId } = (await client.create({ clientRequestId: uniqueId(), taskType })).body;
      await followWebSocket(service.url, taskId, null, client.headers).end();
      return taskId;
    };
    const followed = async (taskId: string, ...more: string[]) => {
      const follower = follow([taskId, '--url', service.url, '--principal', client.principal ?? '', ...more]);
      return { code: await follower.exited, lines: follower.lines().length, stderr: follower.stderr() };
    };

    it.each([
      ['0 when it completed', 'demo.echo', 0],
      ['1 when it failed', 'demo.fail', 1],
    ])('exits with %s, wherever it begins', async (_, taskType, code) => {
      const taskId = await ended(taskType);
      expect(await followed(taskId)).toEqual({ code, lines: 2, stderr: '' });
      expect(await followed(taskId, '--after', '1')).toEqual({ code, lines: 1, stderr: '' });
      expect(await followed(taskId, '--after', '2')).toEqual({ code, lines: 0, stderr: '' });
    });

    it('stops where coming back would change nothing', async () => {
      const taskId = await ended('demo.echo');
      expect(await followed(taskId, '--after', '3')).toMatchObject({
        code: 1,
        stderr: `# ${taskId}: CURSOR_AHEAD\n`,
      });
      const absent = uniqueId();
      expect(await followed(absent)).toMatchObject({ code: 1, stderr: `# ${absent}: TASK_NOT_FOUND\n` });
    });
  });

  it('says so when a server leaves a hole', async () => {
    const frames = ['1 TASK_STARTED', '3 TASK_COMPLETED'].map((line) => {
      const [eventId, type] = line.split(' ');
      return `id: ${eventId}\ndata: ${JSON.stringify({ type, taskId: 'a-task', eventId, payload: {} })}\n\n`;
    });
    const server = createServer((_request, response) => response.end(frames.join(''))).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const follower = follow(['a-task', '--url', `http://127.0.0.1:${port}`], preload('delete globalThis.WebSocket;'));
    await follower.exited;
    server.close();
    expect(follower.stderr()).toContain('PROMISE BROKEN: event 3 came after event 1');
  });
});
