import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startNginx, type TestNginx } from '../support/nginx.js';
import { exchange, head, type RawAnswer } from '../support/raw-http.js';

const SECRET = 'secret-of-the-proxy-0123456789';
const LOGIN = `Basic ${Buffer.from('alice:password-of-alice').toString('base64')}`;
const STREAM = '/api/v1/tasks/01a2/events/stream';
const TASKS = '/api/v1/tasks';

/** The request whole, with the login of alice. */
const asked = (line: string, headers: Readonly<Record<string, string | number>> = {}) =>
  head(line, { Authorization: LOGIN, ...headers });
/** Lines as they are. */
const lines = (...all: readonly string[]) => [...all, '', ''].join('\r\n');

/** What stands in for the service: it answers as the last part of the path says. */
function judge(socket: Socket): void {
  let text = '';
  socket.on('error', () => undefined);
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1');
    if (!text.includes('\r\n\r\n')) return;
    const what = /\/([\w-]+)(?:\/events\/stream\/?)?(?:\?\S*)? HTTP/.exec(text)?.[1] ?? '';
    if (what === 'silent') return;
    if (what === 'gone') return void socket.destroy();
    if (what === 'garbage') return void socket.end(lines('HTTP/1.1 200 Says', 'no\0thing: understood'));
    const body = JSON.stringify({ code: 'OF_THE_SERVICE', target: / (\S+)/.exec(text)?.[1] });
    const status = /^\d+$/.test(what) ? what : '200';
    const length = `Content-Length: ${body.length}`;
    socket.end(lines(`HTTP/1.1 ${status} Says`, 'Content-Type: application/json', length, 'Connection: close') + body);
  });
}

let upstream: Server;
let nginx: TestNginx;

beforeAll(async () => {
  upstream = createServer(judge).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  const times = { proxy_read_timeout: '1s', client_header_timeout: '1s' };
  nginx = await startNginx({ upstream: url, secret: SECRET, users: { alice: 'password-of-alice' }, times });
}, 120_000);

afterAll(() => void upstream.close());

function expectOneShape({ status, headers, body }: RawAnswer, wanted: number, code: string): void {
  expect({ status, type: headers['content-type'], body: JSON.parse(body) as unknown }).toEqual({
    status: wanted,
    type: 'application/json',
    body: {
      code,
      message: expect.any(String),
      details: {},
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$/),
      correlationId: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
    },
  });
  expect(headers['x-correlation-id']).toBe((JSON.parse(body) as { correlationId: string }).correlationId);
  expect(headers['cache-control']).toBe('no-store');
}

describe('What nginx refuses itself has the one shape:', () => {
  const post = (...headers: readonly string[]) =>
    lines(`POST ${TASKS} HTTP/1.1`, 'Host: a', 'Connection: close', `Authorization: ${LOGIN}`, ...headers);
  const get = (...headers: readonly string[]) =>
    lines(`GET ${TASKS} HTTP/1.1`, 'Host: a', 'Connection: close', `Authorization: ${LOGIN}`, ...headers);

  it.each<[string, string | Buffer, number, string?]>([
    ['a percent sign alone', asked('GET /%'), 400],
    ['a percent sign alone, below the API', asked(`GET ${TASKS}/%`), 400],
    ['an escape that is cut', asked('GET /%4'), 400],
    ['an escape that is none', asked('GET /%zz'), 400],
    ['an escaped NUL', asked('GET /%00'), 400],
    ['an escaped NUL, below the API', asked(`GET ${TASKS}/a%00b`), 400],
    ['a NUL', asked('GET /a\0b'), 400],
    ['a control character in the path', asked('GET /a\x01b'), 400],
    ['a space in the path', asked('GET /a b'), 400],
    ['a path above the root', asked('GET /../a'), 400],
    ['a path above the root, below the API', asked('GET /api/v1/../../../a'), 400],
    ['an escaped path above the root', asked('GET /%2e%2e/a'), 400],
    ['a path without a slash', asked('GET a'), 400],
    ['a path of a location that no request may name', asked('GET event-source'), 400],
    ['an asterisk', asked('GET *'), 400],
    ['an asterisk, as OPTIONS has it', asked('OPTIONS *'), 400],
    ['a URL without a host', asked('GET http://'), 400],
    ['a URL of a host that is none', asked('GET http://a b/'), 400],
    ['a request line that is none', 'BLAH\r\n\r\n', 400],
    ['a request line of bytes', Buffer.from([0, 1, 2, 255, 254, 13, 10, 13, 10]), 400],
    ['a method in lower case', asked('get /'), 400],
    ['a method with a strange sign', asked('G@T /'), 400],
    ['another protocol', lines('GET / ICAP/1.0', 'Host: a'), 400],
    ['a version that is none', lines('GET / HTTP/x.y', 'Host: a'), 400],
    ['a version without a point', lines('GET / HTTP/11', 'Host: a'), 505],
    ['a TLS hello', Buffer.from('16030100050100000100', 'hex'), 400],
    [
      'a TLS hello of a browser',
      Buffer.concat([Buffer.from('1603010200010001fc0303', 'hex'), Buffer.alloc(500, 7)]),
      400,
    ],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['HTTP/2 in its request line', lines('GET / HTTP/2.0', 'Host: a'), 505],
    ['HTTP/9 in its request line', lines('GET / HTTP/9.9', 'Host: a'), 505],
    ['no Host', lines('GET / HTTP/1.1', 'Connection: close'), 400],
    ['an empty Host', lines('GET / HTTP/1.1', 'Host:', 'Connection: close'), 400],
    ['two Hosts', lines('GET / HTTP/1.1', 'Host: a', 'Host: b', 'Connection: close'), 400],
    ['a Host with a path', lines('GET / HTTP/1.1', 'Host: a/b', 'Connection: close'), 400],
    ['a length that is no number', post('Content-Length: abc'), 400],
    ['a length below zero', post('Content-Length: -1'), 400],
    ['a length that no number holds', post('Content-Length: 99999999999999999999'), 400],
    ['two lengths', post('Content-Length: 1', 'Content-Length: 2'), 400],
    ['a length and chunks', post('Content-Length: 1', 'Transfer-Encoding: chunked'), 400],
    ['chunks twice', post('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'), 400],
    ['another encoding', post('Transfer-Encoding: gzip'), 501],
    ['another encoding around chunks', post('Transfer-Encoding: gzip, chunked'), 501],
    ['a chunk that is none', `${post('Transfer-Encoding: chunked')}zz\r\n`, 400],
    [
      'a chunk that is none, on a stream',
      `${asked(`GET ${STREAM}`, { Accept: 'text/event-stream', 'Transfer-Encoding': 'chunked' })}zz\r\n`,
      400,
    ],
    ['a NUL in a header', get('X-A: a\0b'), 400],
    ['a NUL in the name of a header', get('X\0A: b'), 400],
    ['a space in the name of a header', get('X A: b'), 400],
    ['a control character in the name of a header', get('X\x01A: b'), 400],
    ['a header that goes on in the next line', get('X-A: b', ' c: d'), 400],
    ['an address that is too long', asked(`GET /${'a'.repeat(9_000)}`), 414],
    ['a header that is too large', get(`X-A: ${'a'.repeat(9_000)}`), 431],
    [
      'headers that are too large together',
      get(...Array.from({ length: 90 }, (_, n) => `X-${n}: ${'a'.repeat(500)}`)),
      431,
    ],
    [
      'a body that is too large',
      asked(`POST ${TASKS}/1/cancel`, { 'Content-Length': 1_048_577 }),
      413,
      'PAYLOAD_TOO_LARGE',
    ],
    ['an upload that is too large', asked(`POST ${TASKS}`, { 'Content-Length': 60_000_000 }), 413, 'PAYLOAD_TOO_LARGE'],
    ['TRACE', asked(`TRACE ${TASKS}`), 405, 'METHOD_NOT_ALLOWED'],
    ['a tunnel', lines('CONNECT a:1 HTTP/1.1', 'Host: a:1', 'Connection: close'), 400],
    ['no login', head(`GET ${TASKS}`), 401, 'AUTHENTICATION_ERROR'],
    ['a login that is none', head(`GET ${TASKS}`, { Authorization: 'Basic ####' }), 401, 'AUTHENTICATION_ERROR'],
    ['another kind of login', head(`GET ${TASKS}`, { Authorization: 'Negotiate abcd' }), 401, 'AUTHENTICATION_ERROR'],
    ['no login, on a stream', head(`GET ${STREAM}`, { Accept: 'text/event-stream' }), 401, 'AUTHENTICATION_ERROR'],
    ['what is outside', asked('GET /metrics'), 404, 'NOT_FOUND'],
    ['an unknown method on what is outside', asked('BREW /coffee'), 404, 'NOT_FOUND'],
    ['a range of what is outside', asked('GET /a', { Range: 'bytes=9-1' }), 404, 'NOT_FOUND'],
    ['an expectation of what is outside', asked('GET /a', { Expect: 'wonders' }), 404, 'NOT_FOUND'],
    ['a URL of what is outside', asked('GET http://elsewhere/a'), 404, 'NOT_FOUND'],
    ['a URL without a path', asked('GET http://elsewhere'), 404, 'NOT_FOUND'],
    ['a page of errors', asked('GET /.error'), 404, 'NOT_FOUND'],
    ['a stream that was cut', asked('GET /.cut'), 404, 'NOT_FOUND'],
    ['the name of a location', asked('GET /event-source'), 404, 'NOT_FOUND'],
    ['a service that hangs up', asked(`GET ${TASKS}/gone`), 503, 'SERVICE_UNAVAILABLE'],
    ['a service that answers no HTTP', asked(`GET ${TASKS}/garbage`), 503, 'SERVICE_UNAVAILABLE'],
    ['a service that is silent', asked(`GET ${TASKS}/silent`), 503, 'SERVICE_UNAVAILABLE'],
    [
      'a service that hangs up on an upgrade',
      asked(`GET ${TASKS}/gone`, { Upgrade: 'websocket' }),
      503,
      'SERVICE_UNAVAILABLE',
    ],
  ])('%s', async (_what, request, status, code = 'INVALID_REQUEST') => {
    expectOneShape(await exchange(nginx.port, request), status, code);
  });

  it('with Retry-After where it may be better in a moment', async () => {
    expect((await exchange(nginx.port, asked(`GET ${TASKS}/gone`))).headers['retry-after']).toBe('1');
    expect((await exchange(nginx.port, asked('GET /a'))).headers['retry-after']).toBeUndefined();
  });

  it('with Allow where another method may be right', async () => {
    expect((await exchange(nginx.port, asked(`TRACE ${TASKS}`))).headers['allow']).toBe('GET, HEAD, POST, OPTIONS');
  });

  it('but for HTTP/0.9, whose answers are bodies without a status or a header', async () => {
    for (const [line, code] of [
      ['GET /a\r\n', 'NOT_FOUND'],
      [`GET ${TASKS}\r\n`, 'AUTHENTICATION_ERROR'],
    ] as const) {
      expect(JSON.parse((await exchange(nginx.port, line)).raw)).toMatchObject({ code, details: {} });
    }
  });

  it('but for a request that does not arrive in time: nginx hangs up without a word', async () => {
    expect((await exchange(nginx.port, 'GET / HTTP/1.1\r\nHost: a\r\n')).raw).toBe('');
    expect((await exchange(nginx.port, 'GET ')).raw).toBe('');
  });

  it('and leaves headers alone that it does not pass on: an underscore, a line without a colon', async () => {
    for (const line of ['X_A: b', 'X-Principal_Id: mallory', 'no colon'.replace(' ', '')]) {
      expect((await exchange(nginx.port, get(line))).status).toBe(200);
    }
  });

  it('and passes on what the service refuses, as it is', async () => {
    for (const status of [
      400, 401, 403, 404, 405, 409, 413, 414, 415, 416, 422, 426, 429, 431, 500, 501, 502, 503, 504,
    ]) {
      const answer = await exchange(nginx.port, asked(`GET ${TASKS}/${status}`));
      expect(answer).toMatchObject({ status, body: expect.stringContaining('OF_THE_SERVICE') });
    }
  });
});

describe('The stream of a service that does not answer is, for a client that accepts events alone,', () => {
  const at = (what: string) => `${TASKS}/${what}/events/stream`;
  const EVENTS = { Accept: 'text/event-stream' };

  it.each([
    ['hangs up', 'GET', at('gone')],
    ['answers no HTTP', 'GET', at('garbage')],
    ['is silent', 'GET', at('silent')],
    ['is unavailable', 'GET', at('503')],
    ['is behind another proxy that has lost it', 'GET', at('502')],
    ['is behind another proxy that waits no longer', 'GET', at('504')],
    ['hangs up on an address with a slash', 'GET', `${at('gone')}/`],
    ['hangs up on a cursor', 'GET', `${at('gone')}?lastEventId=4`],
  ])('one that ends before its first event, when it %s', async (_what, method, path) => {
    const answer = await exchange(nginx.port, asked(`${method} ${path}`, EVENTS));
    expect(answer).toMatchObject({ status: 200, body: 'retry: 2000\n\n' });
    expect(answer.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache',
      'x-correlation-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  });

  it('the same in another spelling, and without a body for HEAD', async () => {
    const spelt = await exchange(nginx.port, asked(`GET ${at('gone')}`, { Accept: 'Text/Event-Stream' }));
    expect(spelt).toMatchObject({ status: 200, body: 'retry: 2000\n\n' });
    expect(await exchange(nginx.port, asked(`HEAD ${at('gone')}`, EVENTS))).toMatchObject({ status: 200, body: '' });
  });

  it.each([
    ['accepts anything', 'GET', { Accept: '*/*' }],
    ['accepts something else, too', 'GET', { Accept: 'text/event-stream, application/json' }],
    ['says nothing', 'GET', {}],
    ['posts', 'POST', EVENTS],
  ])('a refusal for one that %s', async (_what, method, headers) => {
    expectOneShape(await exchange(nginx.port, asked(`${method} ${at('gone')}`, headers)), 503, 'SERVICE_UNAVAILABLE');
    const unavailable = await exchange(nginx.port, asked(`${method} ${at('503')}`, headers));
    expect(unavailable).toMatchObject({ status: 503, body: expect.stringContaining('OF_THE_SERVICE') });
  });

  it.each([200, 204, 400, 401, 403, 404, 405, 406, 409, 429])(
    'but what it says with %i stays as it is',
    async (status) => {
      const answer = await exchange(nginx.port, asked(`GET ${at(String(status))}?lastEventId=4%20`, EVENTS));
      expect(answer.status).toBe(status);
      if (status !== 204) {
        // The address reaches it as it was sent, too.
        expect(JSON.parse(answer.body)).toEqual({
          code: 'OF_THE_SERVICE',
          target: `${at(String(status))}?lastEventId=4%20`,
        });
      }
    },
  );

  it('and elsewhere a refusal', async () => {
    for (const path of [TASKS, `${TASKS}/gone`, `${TASKS}/a/b/events/stream/gone`]) {
      const answer = await exchange(nginx.port, asked(`GET ${path === TASKS ? `${TASKS}/gone` : path}`, EVENTS));
      expectOneShape(answer, 503, 'SERVICE_UNAVAILABLE');
    }
  });
});
