import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SETTINGS } from '../../src/boot/settings.js';
import { WebSocket } from 'ws';
import { Client, expectError, uniqueId } from '../support/client.js';
import { followSse, followWebSocket } from '../support/follow.js';
import { field, file, formOf } from '../support/form.js';
import { SUBPROTOCOL } from '../support/multiplex-client.js';
import { startNginx, type TestNginx } from '../support/nginx.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { answerOn, chunk, exchange, head, LAST_CHUNK } from '../support/raw-http.js';
import { type Service, startService } from '../support/service.js';
import { type Lease, WITH_WORKERS, WorkerClient, WORKER_TOKEN } from '../support/worker-client.js';

const SECRET = 'secret-of-the-proxy-0123456789';
const PAGE = 'https://app.example';
const MIB = 1024 * 1024;
const USERS = { alice: 'password-of-alice', mallory: 'password-of-mallory', carol: 'password-of-carol' };

const basic = (name: keyof typeof USERS) => `Basic ${Buffer.from(`${name}:${USERS[name]}`).toString('base64')}`;

/** Every header that names the caller to the service or to a proxy before it. */
const IDENTITY = {
  'X-Principal-Id': 'alice',
  'X-Principal-Scopes': 'tasks:read tasks:write tasks:upload tasks:execute tasks:admin',
  'X-Tenant-Id': 'tenant',
  'X-App-Id': 'app',
  'X-Auth-Proxy-Secret': SECRET,
  'X-Forwarded-For': '10.0.0.1',
  'X-Forwarded-User': 'alice',
  'X-Forwarded-Host': 'elsewhere',
  'X-Forwarded-Proto': 'https',
  'X-Remote-User': 'alice',
};

/** Ways to write a header that one server takes for another one. */
const SPELLINGS: readonly [string, (name: string) => string][] = [
  ['as it is', (name) => name],
  ['in lower case', (name) => name.toLowerCase()],
  ['in upper case', (name) => name.toUpperCase()],
  ['with underscores', (name) => name.replaceAll('-', '_')],
  ['with one underscore', (name) => name.replace('-', '_')],
  ['with a space before the colon', (name) => `${name} `],
  ['with a tab before the colon', (name) => `${name}\t`],
  ['as a continued line', (name) => `X-Other: a\r\n ${name}`],
  ['with a dot', (name) => name.replaceAll('-', '.')],
  ['with a NUL', (name) => `${name}\0`],
  ['with a vertical tab', (name) => `\v${name}`],
  ['with an umlaut', (name) => `${name}\u00e4`],
];

describe('nginx with the configuration of deploy/nginx', () => {
  let database: TestDatabase;
  let service: Service;
  let nginx: TestNginx;
  let alice: Client;
  let mallory: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = { DATABASE_URL: database.appUrl, ...WITH_WORKERS, AUTH_PROXY_SECRET: SECRET, ALLOWED_ORIGINS: PAGE };
    service = await startService(
      {
        ...env,
        REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
        FOLLOW_TOKEN_KEYS: '0123456789abcdef0123456789abcdef',
        LOG_LEVEL: 'debug',
      },
      { lifetime: 'file' },
    );
    nginx = await startNginx({ upstream: service.url, secret: SECRET, users: USERS, scopes: { carol: 'tasks:read' } });
    [alice, mallory] = [as('alice'), as('mallory')];
  }, 300_000);

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  const as = (name: keyof typeof USERS) => new LoggedIn(nginx.url, basic(name));
  const create = async (
    client: Client,
    taskType = 'demo.greet',
    input: Record<string, unknown> = { steps: 1, stepMs: 1 },
  ) => (await client.create({ clientRequestId: uniqueId(), taskType, input })).body.taskId;

  describe('who is calling', () => {
    it('is the user that logged in, with the scopes of principals.conf', async () => {
      const taskId = await create(alice);
      expect((await alice.snapshot(taskId)).status).toBe(200);
      expect((await mallory.snapshot(taskId)).status).toBe(404);
      const refused = await as('carol').create({ clientRequestId: uniqueId(), taskType: 'demo.greet' });
      expectError(refused, 403, 'ACCESS_DENIED');
      expect((await as('carol').list()).status).toBe(200);
    });

    it.each([
      ['no credentials', undefined],
      ['a wrong password', `Basic ${Buffer.from('alice:wrong').toString('base64')}`],
      ['an unknown name', `Basic ${Buffer.from('nobody:password-of-alice').toString('base64')}`],
      ['a worker token', `Bearer ${WORKER_TOKEN}`],
    ])('is nobody with %s', async (_what, authorization) => {
      const answer = await new LoggedIn(nginx.url, authorization).request('GET', '/api/v1/tasks', {
        headers: IDENTITY,
      });
      expect(answer).toMatchObject({ status: 401, body: { code: 'AUTHENTICATION_ERROR' } });
      expect(answer.headers.get('www-authenticate')).toBe('Basic realm="TaskBridge"');
    });

    it.each([
      ['/api/v1', basic('alice')],
      ['/worker/v1', `Bearer ${WORKER_TOKEN}`],
    ])('learns the features at %s, with and without a slash', async (path, authorization) => {
      for (const spelt of [path, `${path}/`]) {
        const asked = (headers: Record<string, string>) =>
          fetch(`${nginx.url}${spelt}`, { headers, redirect: 'manual' });
        const answer = await asked({ Authorization: authorization });
        expect(answer.status).toBe(200);
        expect(await answer.json()).toMatchObject({ features: expect.arrayContaining(['bigIntegers']) });
        expect((await asked({})).status).toBe(401);
      }
    });

    it.each(SPELLINGS)('is not changed by headers %s', async (_how, spell) => {
      const ofAlice = await create(alice);
      const spoofed = Object.entries(IDENTITY).map(([name, value]) => `${spell(name)}: ${value}`);
      for (const headers of [spoofed, [...spoofed, ...spoofed]]) {
        const read = await asMallory(`GET /api/v1/tasks/${ofAlice}`, headers);
        // What no HTTP header can be is refused by nginx.
        expect([400, 404]).toContain(read.status);
        const listed = await asMallory('GET /api/v1/tasks?limit=100', headers);
        expect([200, 400]).toContain(listed.status);
        expect(listed.body).not.toContain(ofAlice);
      }
      const claimed = await asMallory('POST /worker/v1/leases', spoofed);
      expect([400, 401]).toContain(claimed.status);
    });

    it('cannot be nobody of its own will', async () => {
      // Each of these has the proxy send no principal, and then no proof and no scopes either.
      const ofAlice = await create(alice);
      const spoofed = Object.entries(IDENTITY).map(([name, value]) => `${name}: ${value}`);
      expect((await asMallory('OPTIONS /api/v1/tasks', spoofed)).body).not.toContain(ofAlice);
      expect((await asMallory('GET /api/v1/tasks', [...spoofed, 'X-Lease-Token: x'])).body).not.toContain(ofAlice);
      const attachment = `GET /api/v1/tasks/${ofAlice}/attachments/a`;
      expect((await asMallory(attachment, [...spoofed, 'X-Lease-Token: x'])).status).toBe(409);
      expect((await asMallory('GET /api/v1/tasks/%2e%2e/%2e%2e/worker/v1/leases', spoofed)).status).not.toBe(200);
    });

    const asMallory = (line: string, headers: readonly string[]) =>
      exchange(
        nginx.port,
        [
          `${line} HTTP/1.1`,
          'Host: localhost',
          `Authorization: ${basic('mallory')}`,
          ...headers,
          'Connection: close',
          '',
          '',
        ].join('\r\n'),
      );

    it('is the same on a WebSocket', async () => {
      const taskId = await create(alice);
      const spoofed = { Authorization: basic('mallory'), ...IDENTITY };
      const foreign = followWebSocket(nginx.url, taskId, null, spoofed);
      expect(await foreign.ended).toMatchObject({ kind: 'close', code: 4404 });
      const own = followWebSocket(nginx.url, taskId, null, { Authorization: basic('alice') });
      expect(await own.ended).toMatchObject({ kind: 'close', code: 1000 });
      const nobody = followWebSocket(nginx.url, taskId, null, IDENTITY);
      expect(await nobody.ended).toMatchObject({ kind: 'status', code: 401 });
    });
  });

  describe('the holder of a follow token', () => {
    const tokens: string[] = [];
    const mint = async (by: Client, body: object) => {
      const answer = await by.post<{ token: string }>('/api/v1/follow-tokens', { may: ['read'], ...body });
      expect(answer.status).toBe(201);
      tokens.push(answer.body.token);
      return answer.body.token;
    };
    const offering = (token: string, headers: Record<string, string> = {}) => {
      const address = `${nginx.url.replace('http', 'ws')}/api/v1/tasks/ws`;
      return new WebSocket(address, ['taskbridge.v1', `taskbridge.token.${token}`], { headers });
    };

    it('needs no password, wherever the token is', async () => {
      const taskId = await create(alice);
      const token = await mint(alice, { taskId });
      const bearer = { Authorization: `Bearer ${token}` };
      expect((await fetch(`${nginx.url}/api/v1/tasks/${taskId}`, { headers: bearer })).status).toBe(200);
      const stream = await fetch(`${nginx.url}/api/v1/tasks/${taskId}/events/stream?token=${token}`, {
        headers: { Accept: 'text/event-stream' },
      });
      expect(stream.status).toBe(200);
      expect(await stream.text()).toContain('TASK_STARTED');
      const own = await mint(alice, { owner: true });
      const changes = await fetch(`${nginx.url}/api/v1/tasks/changes/stream?token=${own}`, {
        headers: { Accept: 'text/event-stream' },
      });
      expect(changes.status).toBe(200);
      await changes.body?.cancel();
      const socket = offering(token);
      await once(socket, 'open');
      expect(socket.protocol).toBe('taskbridge.v1');
      socket.terminate();
    });

    it('is nobody else, whatever it sends beside it', async () => {
      const taskId = await create(alice);
      const token = await mint(alice, { taskId });
      const path = `/api/v1/tasks/${taskId}`;
      const spoofed = { ...IDENTITY, 'X-Principal-Id': 'mallory' };
      expect(
        (await fetch(nginx.url + path, { headers: { ...spoofed, Authorization: `Bearer ${token}` } })).status,
      ).toBe(200);
      // A browser sends the password of the page by itself. It goes no further.
      const stream = await fetch(`${nginx.url}${path}/events/stream?token=${token}`, {
        headers: { Authorization: basic('mallory') },
      });
      expect(stream.status).toBe(200);
      await stream.body?.cancel();
      const socket = offering(token, { Authorization: basic('mallory') });
      await once(socket, 'open');
      socket.terminate();
    });

    it('gets nothing by something that only looks like a token', async () => {
      const taskId = await create(alice);
      const path = `/api/v1/tasks/${taskId}`;
      const token = await mint(alice, { taskId });
      const asked = (address: string, headers: Record<string, string> = {}) =>
        fetch(nginx.url + address, { headers: { ...IDENTITY, ...headers } }).then(({ status }) => status);
      expect(await asked(path, { Authorization: 'Bearer tbf1.e30.AAAA' })).toBe(401);
      expect(await asked(path, { Authorization: 'Bearer another' })).toBe(401);
      expect(await asked(`${path}?token=${token}`)).toBe(401);
      expect(await asked(`${path}/events/stream?token=tbf1.x`)).toBe(401);
      expect(await asked(`${path}/events/stream?Token=${token}`)).toBe(401);
      expect(await asked('/openapi.json', { Authorization: `Bearer ${token}` })).toBe(401);
      expect(await asked('/metrics', { Authorization: `Bearer ${token}` })).toBe(404);
      expect(await asked('/worker/v1', { Authorization: `Bearer ${token}` })).toBe(401);
      expect(await asked('/api/v1/tasks', { 'Sec-WebSocket-Protocol': `taskbridge.token.${token}` })).toBe(401);
    });

    it('finds its token in no log, also when the service is gone, and no other query', async () => {
      const gone = await startNginx({ upstream: 'http://127.0.0.1:1', secret: SECRET, users: USERS });
      const taskId = await create(alice);
      const token = await mint(alice, { taskId });
      const path = `/api/v1/tasks/${taskId}/events/stream`;
      for (const accept of ['text/event-stream', '*/*']) {
        const headers = { Accept: accept, Referer: `http://app.example/?token=${token}` };
        await fetch(`${gone.url}${path}?token=${token}`, { headers }).then((answer) => answer.text());
      }
      const socket = offering(token);
      await once(socket, 'open');
      socket.terminate();
      await alice.request('GET', '/api/v1/tasks?limit=13');
      await fetch(`${nginx.url}${path}?token=${token}x`).then((answer) => answer.text());
      for (const log of [gone.log(), nginx.log(), service.stdout()]) {
        for (const one of tokens) expect(log).not.toContain(one.split('.')[2]);
        expect(log).not.toMatch(/token=|limit=13/);
      }
      expect(nginx.log()).toMatch(/"GET \/api\/v1\/tasks HTTP\/1.1" 200 /);
      expect(gone.log()).toContain(`"GET ${path} HTTP/1.1" `);
    });
  });

  describe('what goes through', () => {
    it('lets a multiplexed WebSocket through', async () => {
      const address = `${nginx.url.replace('http', 'ws')}/api/v1/tasks/ws`;
      const socket = new WebSocket(address, [SUBPROTOCOL], { headers: alice.headers });
      await once(socket, 'open');
      expect(socket.protocol).toBe(SUBPROTOCOL);
      socket.terminate();
    });

    it('answers the preflight of an allowed page, which has no credentials, and shows the page what it asks for', async () => {
      const asked = {
        Origin: PAGE,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'content-type',
      };
      const preflight = await exchange(nginx.port, head('OPTIONS /api/v1/tasks', asked));
      expect(preflight).toMatchObject({ status: 204, headers: { 'access-control-allow-origin': PAGE } });
      const listed = await alice.request('GET', '/api/v1/tasks', { headers: { Origin: PAGE } });
      expect(listed.headers.get('access-control-allow-origin')).toBe(PAGE);
      const foreign = { ...asked, Origin: 'https://evil.example' };
      expect(await exchange(nginx.port, head('OPTIONS /api/v1/tasks', foreign))).toMatchObject({ status: 403 });
    });

    it('says by which scheme it was asked, whatever the client says', async () => {
      const behindTls = await startNginx({ upstream: service.url, secret: SECRET, users: USERS, scheme: 'https' });
      for (const [proxy, own, foreign] of [
        [nginx, 'http', 'https'],
        [behindTls, 'https', 'http'],
      ] as const) {
        const status = async (line: string, scheme: string, headers: Record<string, string> = {}) =>
          (
            await exchange(
              proxy.port,
              head(line, { Host: 'tasks.example', Origin: `${scheme}://tasks.example`, ...headers }),
            )
          ).status;
        const login = { Authorization: basic('alice') };
        const cancel = `POST /api/v1/tasks/${await create(alice)}/cancel`;
        expect(await status(cancel, own, login)).toBe(202);
        for (const told of [{}, { 'X-Forwarded-Proto': foreign }, { X_Forwarded_Proto: foreign }]) {
          expect(await status(cancel, foreign, { ...login, ...told })).toBe(403);
          const asked = { 'Access-Control-Request-Method': 'POST', ...told };
          expect(await status('OPTIONS /api/v1/tasks', foreign, asked)).toBe(403);
          expect(await status('OPTIONS /api/v1/tasks', own, asked)).toBe(204);
        }
      }
    });

    it('hands on the first event of a stream while the task runs', async () => {
      const taskId = await create(alice, 'demo.sleep', { ms: 600_000 });
      const reader = followSse(nginx.url, taskId, null, { Authorization: basic('alice') });
      await reader.waitFor(({ events }) => events.length === 1);
      expect(reader.outcome).toBeUndefined();
      await alice.cancel(taskId);
      expect(await reader.ended).toMatchObject({ kind: 'end' });
    });

    it('resumes a stream by Last-Event-ID', async () => {
      const taskId = await create(alice);
      await followSse(nginx.url, taskId, null, alice.headers).ended;
      const reader = followSse(nginx.url, taskId, '2', alice.headers);
      await reader.ended;
      expect(reader.events.map(({ eventId }) => eventId)).toEqual(['3']);
    });

    it('keeps a long-poll open until something happens', async () => {
      const taskId = await create(alice, 'demo.sleep', { ms: 600_000 });
      const started = await alice.events(taskId, { waitTimeoutMs: '60000' });
      const { nextAfterEventId = '' } = started.body;
      const waiting = alice.events(taskId, { waitTimeoutMs: '60000', afterEventId: nextAfterEventId });
      await alice.cancel(taskId);
      expect((await waiting).body).toMatchObject({ terminal: true });
    });

    it('streams an upload to the service before the client has sent it all', async () => {
      const form = formOf([
        field('taskType', 'demo.attachments'),
        field('clientRequestId', uniqueId()),
        field('unknown', 'refused while the file is on its way'),
        file('a.bin', Buffer.alloc(64 * 1024, 1), 'application/octet-stream'),
      ]);
      const socket = connect(nginx.port, '127.0.0.1');
      socket.write(
        head('POST /api/v1/tasks', {
          Authorization: basic('alice'),
          'Content-Length': form.body.length + MIB,
          ...form.headers,
        }),
      );
      socket.write(form.body.subarray(0, -32));
      expect(await answerOn(socket)).toMatchObject({ status: 422 });
    });

    it('stores an upload and gives it back, in ranges too', async () => {
      const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251));
      const taskId = await upload(bytes);
      const { attachments } = (await alice.snapshot(taskId)).body as unknown as {
        attachments: { attachmentId: string }[];
      };
      const path = `/api/v1/tasks/${taskId}/attachments/${attachments[0]?.attachmentId}`;
      const range = await fetch(nginx.url + path, { headers: { Authorization: basic('alice'), Range: 'bytes=10-19' } });
      expect(range.status).toBe(206);
      expect(Buffer.from(await range.arrayBuffer())).toEqual(bytes.subarray(10, 20));
    });

    it('lets a worker claim, download and complete with its tokens and no password', async () => {
      const taskType = uniqueId('through-nginx');
      const taskId = await upload(Buffer.from('for the worker'), taskType);
      const worker = new WorkerClient(nginx.url);
      const lease = (await worker.claim({ taskTypes: [taskType], waitTimeoutMs: 10_000 })).body.leases[0] as Lease;
      const [{ url }] = lease.attachments as [{ url: string }];
      const download = (token: string) => fetch(nginx.url + url, { headers: { 'X-Lease-Token': token } });
      expect(await (await download(lease.leaseToken)).text()).toBe('for the worker');
      expect((await download('another')).status).toBe(409);
      expect((await worker.complete(lease, { done: true })).status).toBe(200);
      expect((await alice.snapshot(taskId)).body.status).toBe('COMPLETED');
    });

    it('answers 304 to an entity tag', async () => {
      const taskId = await create(alice, 'demo.sleep', { ms: 600_000 });
      await alice.events(taskId, { waitTimeoutMs: '10000' });
      const etag = (await alice.snapshot(taskId)).headers.get('etag') ?? '';
      expect((await alice.snapshot(taskId, { 'If-None-Match': etag })).status).toBe(304);
      await alice.cancel(taskId);
    });

    const upload = async (bytes: Buffer, taskType = 'demo.attachments') => {
      const form = formOf([
        field('taskType', taskType),
        field('clientRequestId', uniqueId()),
        file('a.bin', bytes, 'application/octet-stream'),
      ]);
      const created = await alice.request<{ taskId: string }>('POST', '/api/v1/tasks', form);
      expect(created.status).toBe(201);
      return created.body.taskId;
    };
  });

  describe('what does not', () => {
    it.each([
      '/metrics',
      '/ready',
      '/docs',
      '/',
      '/METRICS',
      '//metrics',
      '/api/../metrics',
      '/API/v1/tasks',
      '/api/v1/..%2f..%2fmetrics',
    ])('has nothing at %s', async (path) => {
      const line = head(`GET ${path}`, { Authorization: basic('alice') });
      expect(await exchange(nginx.port, line)).toMatchObject({ status: 404 });
    });

    it('is a JSON body above the limit of the service, and its own refusal looks like one of the service', async () => {
      const largest = Number(SETTINGS.MAX_REQUEST_BODY_SIZE_BYTES.default);
      const path = `/api/v1/tasks/${await create(alice)}/cancel`;
      const post = (length: number) =>
        alice.request('POST', path, {
          body: `{"reason":""}${' '.repeat(length - 13)}`,
          headers: { 'Content-Type': 'application/json' },
        });
      expect((await post(largest)).status).not.toBe(413);
      const refused = await post(largest + 1);
      expect(refused).toMatchObject({
        status: 413,
        body: { code: 'PAYLOAD_TOO_LARGE', message: expect.any(String), details: {} },
      });
      const { correlationId, timestamp } = refused.body as { correlationId: string; timestamp: string };
      expect(refused.headers.get('x-correlation-id')).toBe(correlationId);
      expect(correlationId).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      expect(timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$/);
    });

    it('is a chunked body above the limit', async () => {
      const path = `/api/v1/tasks/${await create(alice)}/cancel`;
      const headers = {
        Authorization: basic('alice'),
        'Content-Type': 'application/json',
        'Transfer-Encoding': 'chunked',
      };
      const pieces = Array.from({ length: 40 }, () => chunk(' '.repeat(32 * 1024)));
      expect(await exchange(nginx.port, head(`POST ${path}`, headers), ...pieces, LAST_CHUNK)).toMatchObject({
        status: 413,
      });
    });

    it('is an upload that no setting of the service would take', async () => {
      const headers = { Authorization: basic('alice'), ...formOf([]).headers, 'Content-Length': 53 * MIB };
      const sent = request(`${nginx.url}/api/v1/tasks`, { method: 'POST', headers, agent: false });
      sent.on('error', () => undefined).flushHeaders();
      const [answer] = (await once(sent, 'response')) as [IncomingMessage];
      expect(answer.statusCode).toBe(413);
      sent.destroy();
    });
  });

  it('answers 503 with Retry-After when the service is gone', async () => {
    const gone = await startNginx({ upstream: 'http://127.0.0.1:1', secret: SECRET, users: USERS });
    const answer = await new LoggedIn(gone.url, basic('alice')).request('GET', '/api/v1/tasks');
    expect(answer).toMatchObject({ status: 503, body: { code: 'SERVICE_UNAVAILABLE' } });
    expect(answer.headers.get('retry-after')).toBe('1');
  });

  it('writes neither the secret nor a password nor a worker token', () => {
    for (const secret of [SECRET, ...Object.values(USERS), WORKER_TOKEN, basic('alice')]) {
      expect(nginx.log()).not.toContain(secret);
      expect(service.stdout()).not.toContain(secret);
    }
  });

  describe('its numbers', () => {
    const standard = (name: keyof typeof SETTINGS) => Number((SETTINGS[name] as { default?: string }).default);
    let numbers: (directive: string) => number[];

    beforeAll(async () => {
      const template = await readFile(
        new URL('../../deploy/nginx/templates/default.conf.template', import.meta.url),
        'utf8',
      );
      numbers = (directive) => {
        const found = [...template.matchAll(new RegExp(`^\\s*${directive} (\\d+)(m|s);`, 'gm'))];
        return found.map(([, number, unit]) => Number(number) * (unit === 'm' ? MIB : 1));
      };
    });

    it('limit bodies as the settings do', () => {
      // What the service adds for the fields of a form and its delimiters is more than one and less than two MiB.
      const uploads = standard('UPLOAD_MAX_TOTAL_BYTES') + 2 * MIB;
      const workerFile = standard('UPLOAD_MAX_FILE_BYTES') + MIB;
      expect(numbers('client_max_body_size')).toEqual([standard('MAX_REQUEST_BODY_SIZE_BYTES'), uploads, workerFile]);
    });

    it('wait longer than the service is silent', async () => {
      const longestWaits = { poll: 60, claim: 30, pings: 20, heartbeat: standard('HEARTBEAT_SECONDS') };
      const [read = 0] = numbers('proxy_read_timeout');
      expect(read).toBeGreaterThan(Math.max(...Object.values(longestWaits)));
    });

    it('keep idle connections for less time than the service', async () => {
      const { headers } = await fetch(`${service.url}/health`);
      const [, seconds] = /^timeout=(\d+)$/.exec(headers.get('keep-alive') ?? '') ?? [];
      expect(numbers('keepalive_timeout')[0]).toBeLessThan(Number(seconds));
    });
  });
});

/** Through the proxy: a password names the caller. */
class LoggedIn extends Client {
  constructor(
    url: string,
    private readonly authorization: string | undefined,
  ) {
    super(url);
  }

  override get headers(): Record<string, string> {
    return this.authorization === undefined ? {} : { Authorization: this.authorization };
  }
}
