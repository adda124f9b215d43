import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  type Answer,
  type Client,
  expectError,
  newPrincipal,
  rawBytes,
  rawRequest,
  uniqueId,
} from '../support/client.js';
import { field, formOf } from '../support/form.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Service, startService } from '../support/service.js';

const ALLOWED = 'https://app.example';
const FOREIGN = 'https://evil.example';
const UPGRADE = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};
const JSON_BODY = { 'Content-Type': 'application/json' };
const PROXY_SECRET = 'secret-of-the-proxy-0123456789';

let database: TestDatabase;
let service: Service;
let strict: Service;
let client: Client;

beforeAll(async () => {
  database = await createTestDatabase();
  [service, strict] = await Promise.all([
    start({}),
    start({ APP_ENV: 'prod', REQUIRE_AUTHENTICATED_PRINCIPAL: 'true', REDIS_URL: 'redis://127.0.0.1:1' }),
  ]);
  client = newPrincipal(service.url);
});

afterAll(async () => {
  await Promise.all([service.stop(), strict.stop()]);
  await database.drop();
});

function start(env: Record<string, string>): Promise<Service> {
  return startService({ DATABASE_URL: database.appUrl, ALLOWED_ORIGINS: ALLOWED, ...env }, { lifetime: 'file' });
}

type Headers = Readonly<Record<string, string>>;

/** Byte for byte, because an HTTP client has its own ideas about `Origin` and `Upgrade`. */
function send(method: string, path: string, headers: Headers = {}, body: string | Buffer = '', to = service) {
  const all = { ...client.headers, 'Content-Length': String(Buffer.byteLength(body)), ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return rawRequest(to.url, [`${method} ${path} HTTP/1.1`, ...lines], body);
}

const preflight = (origin: string, to = service) =>
  send(
    'OPTIONS',
    '/api/v1/tasks',
    {
      Origin: origin,
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'content-type,idempotency-key,traceparent',
      'X-Principal-Id': '',
    },
    '',
    to,
  );

const corsHeaders = ({ headers }: Answer<unknown>) =>
  [...headers.keys()].filter((name) => name.startsWith('access-control-'));
const list = (text: string | null) => (text ?? '').toLowerCase().split(/,\s*/);
const create = () => JSON.stringify({ clientRequestId: uniqueId('request'), taskType: 'demo.echo' });

function expectReadableBy(origin: string, answer: Answer<unknown>): void {
  expect(answer.headers.get('access-control-allow-origin')).toBe(origin);
  expect(answer.headers.get('access-control-allow-credentials')).toBe('true');
  expect(list(answer.headers.get('vary'))).toContain('origin');
  const exposed = list(answer.headers.get('access-control-expose-headers'));
  expect(exposed).toEqual(expect.arrayContaining(['x-correlation-id', 'retry-after', 'location', 'content-range']));
}

describe('A page of an allowed origin', () => {
  it.each([
    ['in the list', () => ({ origin: ALLOWED, to: service })],
    ['in the list, of a production-like service that asks for a principal', () => ({ origin: ALLOWED, to: strict })],
    ['on localhost, outside of production-like environments', () => ({ origin: 'http://localhost:5173', to: service })],
    ['on the same host', () => ({ origin: service.url, to: service })],
  ])('gets its preflight answered: %s', async (_which, what) => {
    const { origin, to } = what();
    const answer = await preflight(origin, to);
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 204, text: '' });
    expectReadableBy(origin, answer);
    expect(list(answer.headers.get('access-control-allow-methods'))).toEqual(expect.arrayContaining(['get', 'post']));
    expect(list(answer.headers.get('access-control-allow-headers'))).toEqual(
      expect.arrayContaining(['content-type', 'last-event-id', 'authorization', 'idempotency-key', 'range']),
    );
    expect(Number(answer.headers.get('access-control-max-age'))).toBeGreaterThan(0);
  });

  it('can read answers and refusals, whatever refuses', async () => {
    const headers = { Origin: ALLOWED, ...JSON_BODY };
    const answers = [
      await send('POST', '/api/v1/tasks', headers, create()),
      await send('POST', '/api/v1/tasks', headers, '{'),
      await send('POST', '/api/v1/tasks', headers, JSON.stringify({ input: 'x'.repeat(1_100_000) })),
      await send('POST', '/api/v1/tasks', { ...headers, 'X-Principal-Id': '-' }, create()),
      await send('GET', '/api/v1/tasks/nothing', { Origin: ALLOWED }),
      await send('DELETE', '/api/v1/tasks', { Origin: ALLOWED }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([201, 400, 413, 401, 404, 405]);
    for (const answer of answers) expectReadableBy(ALLOWED, answer);
  });
});

describe('A page of a foreign origin', () => {
  const foreigners: readonly (readonly [string, () => { origin: string; to: Service }])[] = [
    ['another site', () => ({ origin: FOREIGN, to: service })],
    ['the same site under another scheme and port', () => ({ origin: 'http://app.example:8080', to: service })],
    ['one that begins like an allowed one', () => ({ origin: `${ALLOWED}.evil.example`, to: service })],
    ['one without an origin of its own', () => ({ origin: 'null', to: service })],
    ['localhost, in production', () => ({ origin: 'http://localhost:5173', to: strict })],
  ];

  it.each(foreigners)('gets no CORS headers for its preflight: %s', async (_which, what) => {
    const { origin, to } = what();
    const answer = await preflight(origin, to);
    expectError(answer, 403, 'ACCESS_DENIED');
    expect(corsHeaders(answer)).toEqual([]);
  });

  // A form needs no preflight, and the browser sends the visitor's cookies with it.
  it.each(foreigners)('cannot create a task, neither by JSON nor by a form: %s', async (_which, what) => {
    const { origin, to } = what();
    const form = formOf([field('clientRequestId', uniqueId('request')), field('taskType', 'demo.echo')]);
    for (const answer of [
      await send('POST', '/api/v1/tasks', { Origin: origin, ...JSON_BODY }, create(), to),
      await send('POST', '/api/v1/tasks', { Origin: origin, ...form.headers }, form.body, to),
    ]) {
      expectError(answer, 403, 'ACCESS_DENIED');
      expect(corsHeaders(answer)).toEqual([]);
    }
  });

  it('cannot cancel a task', async () => {
    const { body } = await client.create({ clientRequestId: uniqueId('request'), taskType: 'demo.echo' });
    const answer = await send('POST', `/api/v1/tasks/${body.taskId}/cancel`, { Origin: FOREIGN });
    expectError(answer, 403, 'ACCESS_DENIED');
  });

  it('is not shown what it asks for: the answer has no CORS headers', async () => {
    const answer = await send('GET', '/api/v1/tasks', { Origin: FOREIGN });
    expect(corsHeaders(answer)).toEqual([]);
    expect(list(answer.headers.get('vary'))).toContain('origin');
  });

  it.each(['stream', 'WebSocket'])('cannot open a %s', async (what) => {
    const { body } = await client.create({ clientRequestId: uniqueId('request'), taskType: 'demo.echo' });
    const answer =
      what === 'stream'
        ? await send('GET', `/api/v1/tasks/${body.taskId}/events/stream`, { Origin: FOREIGN })
        : await send('GET', '/api/v1/tasks/ws', { Origin: FOREIGN, ...UPGRADE });
    expectError(answer, 403, 'ACCESS_DENIED');
  });
});

describe('A page of the same host', () => {
  let proxied: Service;

  beforeAll(async () => {
    proxied = await start({
      APP_ENV: 'prod',
      REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
      REDIS_URL: 'redis://127.0.0.1:1',
      AUTH_PROXY_SECRET: `another-one-0123456789,${PROXY_SECRET}`,
      DEMO_TASKS: 'true',
    });
  });

  afterAll(() => proxied.stop());

  /** Header lines, so that one may come twice. */
  const ask = (line: string, lines: readonly string[], body = '', to = proxied) =>
    rawBytes(
      to.url,
      [
        `${line} HTTP/1.1`,
        'X-Principal-Id: alice',
        ...lines,
        `Content-Length: ${body.length}`,
        'Connection: close',
        '',
        body,
      ].join('\r\n'),
    );
  const PROOF = `X-Auth-Proxy-Secret: ${PROXY_SECRET}`;
  const page = (origin: string, host: string, ...told: readonly string[]) => [
    `Host: ${host}`,
    `Origin: ${origin}`,
    ...told.map((value) => `X-Forwarded-Proto: ${value}`),
  ];

  /** Tries a form, a read, a preflight, a stream and a WebSocket of a page. */
  async function tried(lines: readonly string[], to = proxied) {
    const body = create();
    const preflight = ['Access-Control-Request-Method: POST', 'Access-Control-Request-Headers: content-type'];
    const upgrade = Object.entries(UPGRADE).map(([name, value]) => `${name}: ${value}`);
    const answers = [
      await ask('POST /api/v1/tasks', [...lines, 'Content-Type: application/json'], body, to),
      await ask('GET /api/v1/tasks', lines, '', to),
      await ask('OPTIONS /api/v1/tasks', [...lines, ...preflight], '', to),
      await ask('GET /api/v1/tasks/nothing/events/stream', lines, '', to),
      // Without a version it is refused behind the origin, and the connection ends.
      await ask('GET /api/v1/tasks/ws', [...lines, ...upgrade.filter((line) => !/Version/.test(line))], '', to),
    ];
    return answers.map(
      ({ status, headers }) => `${status}${headers.has('access-control-allow-credentials') ? '+' : ''}`,
    );
  }
  const OWN = ['201+', '200+', '204+', '404+', '400'];
  const FOREIGN_PAGE = ['403', '200', '403', '403', '403'];

  it.each([
    ['http', 'http://tasks.example', 'tasks.example', ['http']],
    ['https', 'https://tasks.example', 'tasks.example', ['https']],
    ['https, in upper case', 'https://tasks.example', 'TASKS.example', ['HTTPS']],
    ['https, by every proxy on the way', 'https://tasks.example', 'tasks.example', ['https, https']],
    ['https, by two headers', 'https://tasks.example', 'tasks.example', ['https', ' https ']],
    ['a WebSocket under TLS', 'https://tasks.example', 'tasks.example', ['wss']],
    ['a WebSocket', 'http://tasks.example', 'tasks.example', ['ws']],
    ['https, with its own port', 'https://tasks.example', 'tasks.example:443', ['https']],
    ['http, with its own port', 'http://tasks.example', 'tasks.example:80', ['http']],
    ['https, on another port', 'https://tasks.example:8443', 'tasks.example:8443', ['https']],
    ['https, of an address', 'https://[2001:db8::1]', '[2001:DB8::1]', ['https']],
    ['https, of an address with a port', 'https://[2001:db8::1]:8443', '[2001:db8:0::1]:8443', ['https']],
    ['nothing of it', 'https://tasks.example', 'tasks.example', []],
  ])('is let in where the proxy proves and says %s', async (_what, origin, host, told) => {
    expect(await tried([PROOF, ...page(origin, host, ...told)])).toEqual(OWN);
  });

  it.each([
    ['http, on a service of https', 'http://tasks.example', 'tasks.example', ['https']],
    ['https, on a service of http', 'https://tasks.example', 'tasks.example', ['http']],
    ['http, behind a WebSocket under TLS', 'http://tasks.example', 'tasks.example', ['wss']],
    ['http, with the port of https', 'http://tasks.example', 'tasks.example:443', ['https']],
    ['http, of an address', 'http://[2001:db8::1]', '[2001:db8::1]', ['https']],
    ['https, on the port of http', 'https://tasks.example', 'tasks.example:80', ['https']],
    ['http, where two proxies differ', 'http://tasks.example', 'tasks.example', ['https, http']],
    ['https, where two headers differ', 'https://tasks.example', 'tasks.example', ['https', 'http']],
    ['https, where the proxy says nonsense', 'https://tasks.example', 'tasks.example', ['gopher']],
    ['https, where the proxy says the name of a member', 'https://tasks.example', 'tasks.example', ['constructor']],
    ['https, where the proxy says a list of nothing', 'https://tasks.example', 'tasks.example', [',']],
    ['an application of its own scheme', 'app://tasks.example', 'tasks.example', ['https']],
    ['an application, where the proxy says nothing', 'app://tasks.example', 'tasks.example', []],
  ])('is foreign by its scheme: %s', async (_what, origin, host, told) => {
    expect(await tried([PROOF, ...page(origin, host, ...told)])).toEqual(FOREIGN_PAGE);
  });

  it.each([
    ['without proof', []],
    ['with a wrong secret', ['X-Auth-Proxy-Secret: wrong-secret-0123456789']],
    ['with the secret twice', [PROOF, PROOF]],
  ])('is known by its host alone %s, whatever X-Forwarded-Proto says', async (_how, proof) => {
    for (const told of ['https', 'http', 'nonsense']) {
      const lines = page('http://tasks.example', 'tasks.example', told);
      // The caller is not proved either.
      expect(await tried([...proof, ...lines])).toEqual(['401+', '401+', '204+', '401+', '400']);
    }
  });

  it('is known by its host alone where there is no secret', async () => {
    const lines = [PROOF, ...page('http://tasks.example', 'tasks.example', 'https')];
    expect(await tried(lines, service)).toEqual(OWN);
  });
});

describe('A client that is no browser', () => {
  it('gets no CORS headers', async () => {
    const answer = await send('POST', '/api/v1/tasks', JSON_BODY, create());
    expect({ status: answer.status, cors: corsHeaders(answer) }).toEqual({ status: 201, cors: [] });
  });

  it('learns from OPTIONS what it may do, as from any other method', async () => {
    const answer = await send('OPTIONS', '/api/v1/tasks');
    expectError(answer, 405, 'METHOD_NOT_ALLOWED');
    expect(answer.headers.get('allow')).toBe('GET, HEAD, POST');
  });
});

describe('Every answer', () => {
  it.each([
    ['a list', 'GET', '/api/v1/tasks', {}],
    ['a refusal', 'GET', '/api/v1/tasks/nothing', {}],
    ['nothing there', 'GET', '/elsewhere', {}],
    ['a probe', 'GET', '/health', {}],
    ['metrics', 'GET', '/metrics', {}],
    ['the description', 'GET', '/openapi.json', {}],
    ['the documentation', 'GET', '/docs', {}],
    ['a bad handshake', 'GET', '/api/v1/tasks/ws', { ...UPGRADE, 'Sec-WebSocket-Key': 'short' }],
    ['no HTTP', 'GET', '/a b', {}],
  ])('has the security headers: %s', async (_what, method, path, headers) => {
    expectSecurityHeaders(await send(method, path, headers));
  });

  it('has them: a stream', async () => {
    const { body } = await client.create({ clientRequestId: uniqueId('request'), taskType: 'demo.echo' });
    expectSecurityHeaders(await client.request('GET', `/api/v1/tasks/${body.taskId}/events/stream`));
  });

  it('says that its connection is kept for longer than proxies keep theirs', async () => {
    const { headers } = await client.request('GET', '/health');
    expect(Number(/timeout=(\d+)/.exec(headers.get('keep-alive') ?? '')?.[1])).toBeGreaterThan(60);
  });

  function expectSecurityHeaders({ headers }: Answer<unknown>): void {
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
    expect(headers.get('cross-origin-resource-policy')).toBe('same-origin');
    expect(headers.get('content-security-policy')).toMatch(/default-src 'none'.*frame-ancestors 'none'/);
    expect(headers.get('cache-control')).toMatch(/no-store|no-cache/);
    expect(headers.get('x-powered-by')).toBeNull();
    expect(headers.get('server')).toBeNull();
  }
});

describe('What Node would answer by itself', () => {
  const raw = (head: string) => rawBytes(service.url, `${head}\r\nConnection: close\r\n\r\n`);

  it.each([
    ['a request without a Host', 'GET /health HTTP/1.1', 400, 'INVALID_REQUEST'],
    ['a request with two', 'GET /health HTTP/1.1\r\nHost: a\r\nHost: b', 400, 'INVALID_REQUEST'],
    ['a request for a tunnel', 'CONNECT a:1 HTTP/1.1\r\nHost: a', 405, 'METHOD_NOT_ALLOWED'],
  ])('has the one shape: %s', async (_what, head, status, code) => {
    expectError(await raw(head), status, code);
  });

  it('is what a client gets that expects something nobody knows', async () => {
    expect(await raw('GET /health HTTP/1.1\r\nHost: a\r\nExpect: wonders')).toMatchObject({ status: 200 });
  });

  it('needs no Host from a client of HTTP/1.0', async () => {
    expect(await raw('GET /health HTTP/1.0')).toMatchObject({ status: 200 });
  });
});

describe('A request for an upgrade', () => {
  it('to somewhere else is answered as if it asked for none', async () => {
    expectError(await send('GET', '/elsewhere', UPGRADE), 404, 'NOT_FOUND');
    expect(await send('GET', '/health', { ...UPGRADE, Upgrade: 'h2c' })).toMatchObject({ status: 200 });
    expect(await send('POST', '/api/v1/tasks', { ...UPGRADE, Upgrade: 'h2c', ...JSON_BODY }, create())).toMatchObject({
      status: 201,
    });
  });

  it('with another method than GET is 405', async () => {
    const answer = await send('POST', '/api/v1/tasks/ws', UPGRADE);
    expectError(answer, 405, 'METHOD_NOT_ALLOWED');
    expect(answer.headers.get('allow')).toBe('GET');
  });

  it('that is malformed is 400', async () => {
    expectError(
      await send('GET', '/api/v1/tasks/ws', { ...UPGRADE, 'Sec-WebSocket-Key': 'x' }),
      400,
      'INVALID_REQUEST',
    );
    const version = await send('GET', '/api/v1/tasks/ws', { ...UPGRADE, 'Sec-WebSocket-Version': '9' });
    expectError(version, 400, 'INVALID_REQUEST');
    expect(version.headers.get('sec-websocket-version')).toContain('13');
  });

  it('is asked for where there is none', async () => {
    const answer = await send('GET', '/api/v1/tasks/ws');
    expectError(answer, 426, 'INVALID_REQUEST');
    expect(answer.headers.get('upgrade')).toBe('websocket');
  });
});
