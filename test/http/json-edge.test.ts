import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import express, { type NextFunction, type Request, type Response } from 'express';
import { answerClientError } from '../../src/http/client-error.js';
import { errorBody, httpStatusOf } from '../../src/http/error-body.js';
import { jsonEdge, leaveContinueToEdge } from '../../src/http/json-edge.js';
import { TaskBridgeError } from '../../src/errors.js';
import { answerOn, chunk, exchange, head, LAST_CHUNK, type RawAnswer } from '../support/raw-http.js';

const MAX_BYTES = 64 * 1024;
const JSON_TYPE = { 'Content-Type': 'application/json' };

let server: Server;
let port: number;
/** What reached the route or the error handler, in order. */
let arrivals: string[];
/** Settles when the response of the last request that arrived is over. */
let closed: Promise<unknown>;
let arrived: PromiseWithResolvers<void>;

beforeAll(async () => {
  const app = express();
  app.use((_req: Request, res: Response, next: NextFunction) => {
    closed = once(res, 'close');
    arrived.resolve();
    next();
  });
  app.use(jsonEdge({ maxBytes: MAX_BYTES, leavesBody: (req) => req.url === '/uploads' }));
  app.use((req: Request, res: Response) => {
    arrivals.push(`${req.method} ${req.url}`);
    res.json({ body: req.body ?? 'none', unread: !req.readableEnded });
  });
  app.use((error: unknown, _req: Request, res: Response, _next: NextFunction) => {
    const known = error instanceof TaskBridgeError;
    arrivals.push(known ? error.code : `unexpected ${String(error)}`);
    if (known) res.status(httpStatusOf(error.kind)).json(errorBody(error, 'c-1'));
    else res.sendStatus(500);
  });
  server = createServer(app).on('clientError', answerClientError);
  leaveContinueToEdge(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  port = (server.address() as AddressInfo).port;
});

beforeEach(() => {
  arrivals = [];
  arrived = Promise.withResolvers();
});

afterAll(async () => {
  server.closeAllConnections();
  await once(server.close(), 'close');
});

describe('the JSON edge', () => {
  it.each(['POST', 'PUT', 'PATCH', 'DELETE'])('gives a %s its body', async (method) => {
    const answer = await exchange(port, ...request(`${method} /x`, JSON_TYPE, '{"a":"é😀"}'));
    expect(JSON.parse(answer.body)).toEqual({ body: { a: 'é😀' }, unread: false });
  });

  it('reads a chunked body that comes in pieces, cut within a character', async () => {
    const bytes = Buffer.from('{"a":"😀"}');
    const pieces = [chunk(bytes.subarray(0, 8)), chunk(bytes.subarray(8)), LAST_CHUNK];
    const answer = await exchange(port, head('POST /x', { ...JSON_TYPE, 'Transfer-Encoding': 'chunked' }), ...pieces);
    expect(JSON.parse(answer.body).body).toEqual({ a: '😀' });
  });

  it('takes a body of exactly the limit', async () => {
    const answer = await exchange(port, ...request('POST /x', JSON_TYPE, objectOf(MAX_BYTES)));
    expect(answer.status).toBe(200);
  });

  it.each<[string, Record<string, string>]>([
    ['nothing', {}],
    ['a length of 0', { 'Content-Length': '0' }],
    ['a length of 0 and some media type', { 'Content-Length': '0', 'Content-Type': 'text/plain' }],
  ])('takes a POST with %s as one without a body', async (_, headers) => {
    const answer = await exchange(port, head('POST /x', headers));
    expect(JSON.parse(answer.body).body).toBe('none');
  });

  it.each([
    'application/json',
    'Application/JSON',
    'application/json;charset=utf-8',
    'application/json ; Charset="UTF-8"',
    'application/json; profile="a;charset=x"; charset=utf-8;',
  ])('takes the media type %s', async (type) => {
    const answer = await exchange(port, ...request('POST /x', { 'Content-Type': type }, '{}'));
    expect(answer.status).toBe(200);
  });

  it.each([
    'text/plain',
    'application/jsonx',
    'application/problem+json',
    'application/json, text/plain',
    'application/json; charset=utf-16',
    'application/json; charset="iso-8859-1"',
    'application/json; charset=utf-8; charset=utf-16',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=b',
  ])('refuses the media type %s', async (type) => {
    const answer = await exchange(port, ...request('POST /x', { 'Content-Type': type }, '{}'));
    expectRefusal(answer, 415, 'UNSUPPORTED_MEDIA_TYPE');
  });

  it('refuses a media type made for a regular expression to backtrack on', async () => {
    const type = { 'Content-Type': `application/json${';  '.repeat(2000)}${';a=b'.repeat(2000)}@` };
    expectRefusal(await exchange(port, ...request('POST /x', type, '{}')), 415, 'UNSUPPORTED_MEDIA_TYPE');
  });

  it('refuses a body without a media type', async () => {
    expectRefusal(await exchange(port, ...request('POST /x', {}, '{}')), 415, 'UNSUPPORTED_MEDIA_TYPE');
    const chunked = [head('POST /x', { 'Transfer-Encoding': 'chunked' }), chunk('{}'), LAST_CHUNK];
    expectRefusal(await exchange(port, ...chunked), 415, 'UNSUPPORTED_MEDIA_TYPE');
  });

  it('refuses a compressed body, and takes identity', async () => {
    const gzip = request('POST /x', { ...JSON_TYPE, 'Content-Encoding': 'gzip' }, gzipSync('{}'));
    expectRefusal(await exchange(port, ...gzip), 415, 'UNSUPPORTED_MEDIA_TYPE');
    const identity = request('POST /x', { ...JSON_TYPE, 'Content-Encoding': 'Identity' }, '{}');
    expect((await exchange(port, ...identity)).status).toBe(200);
  });

  it('leaves multipart on the wire for the routes that are allowed it', async () => {
    const type = { 'Content-Type': 'multipart/form-data; boundary=b' };
    const answer = await exchange(port, ...request('POST /uploads', type, '--b--'));
    expect(JSON.parse(answer.body)).toEqual({ body: 'none', unread: true });
  });

  it.each<[string, string | Uint8Array]>([
    ['an array', '[{"a":1}]'],
    ['a string', '"a"'],
    ['a number', '1'],
    ['null', 'null'],
    ['broken JSON', '{"a":'],
    ['white space', '  '],
    ['a byte order mark', '\ufeff{}'],
    ['UTF-16', Buffer.from('{}', 'utf16le')],
    ['invalid UTF-8', Buffer.from([...Buffer.from('{"a":"'), 0xff, ...Buffer.from('"}')])],
    ['3000 levels', '{"a":'.repeat(3000) + '1' + '}'.repeat(3000)],
    ['a key twice', '{"a":1,"a":2}'],
    ['__proto__', '{"__proto__":{"admin":true}}'],
  ])('refuses %s as the body', async (_, body) => {
    expectRefusal(await exchange(port, ...request('POST /x', JSON_TYPE, body)), 400, 'INVALID_REQUEST');
  });

  it('keeps the connection open after a body that was read and refused', async () => {
    const bad = request('POST /x', { ...JSON_TYPE, Connection: 'keep-alive' }, '[]');
    const answer = await exchange(port, ...bad, ...request('POST /y', JSON_TYPE, '{}'));
    expect(answer.raw.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 400', 'HTTP/1.1 200']);
  });
});

describe('the JSON edge and a body that is too large', () => {
  it('refuses an announced one before any of it is sent', async () => {
    const answer = await exchange(port, head('POST /x', { ...JSON_TYPE, 'Content-Length': MAX_BYTES + 1 }));
    expectRefusal(answer, 413, 'PAYLOAD_TOO_LARGE');
    expect(JSON.parse(answer.body).details).toEqual({ maxBytes: MAX_BYTES });
    expect(answer.headers['connection']).toBe('close');
  });

  it('refuses a chunked one of one byte more than the limit', async () => {
    const headers = { ...JSON_TYPE, 'Transfer-Encoding': 'chunked' };
    const answer = await exchange(port, head('POST /x', headers), chunk(objectOf(MAX_BYTES + 1)), LAST_CHUNK);
    expectRefusal(answer, 413, 'PAYLOAD_TOO_LARGE');
  });

  it.each(['length', 'chunked'])('reaches a client that sends all of it before it reads (%s)', async (framing) => {
    const body = objectOf(8 * 1024 * 1024);
    const framed = framing === 'length' ? { 'Content-Length': body.length } : { 'Transfer-Encoding': 'chunked' };
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.write(head('POST /x', { ...JSON_TYPE, ...framed }));
    const last = framing === 'length' ? body : Buffer.concat([chunk(body), Buffer.from(LAST_CHUNK)]);
    await new Promise((sent) => socket.write(last, sent));
    const answer = await answerOn(socket);
    socket.destroy();
    expectRefusal(answer, 413, 'PAYLOAD_TOO_LARGE');
  });

  it('answers an endless one and lets go of the socket', async () => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => undefined);
    const gone = new Promise((resolve) => socket.once('close', resolve));
    socket.write(head('POST /x', { ...JSON_TYPE, 'Transfer-Encoding': 'chunked' }));
    const piece = chunk('x'.repeat(MAX_BYTES));
    const pour = (): void => void socket.write(piece, (error) => error || pour());
    pour();
    expectRefusal(await answerOn(socket), 413, 'PAYLOAD_TOO_LARGE');
    await gone;
    expect(arrivals).toEqual(['PAYLOAD_TOO_LARGE']);
  });

  it('lets go of the socket of a GET with an endless body', async () => {
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.write(head('GET /x', { 'Transfer-Encoding': 'chunked' }));
    const [ofServer] = await accepted;
    const gone = once(ofServer, 'close');
    socket.write(chunk('x'));
    expect((await answerOn(socket)).status).toBe(200);
    await gone;
    socket.destroy();
  });

  it('does not process what is pipelined behind it', async () => {
    const large = [head('POST /x', { ...JSON_TYPE, Connection: 'keep-alive', 'Transfer-Encoding': 'chunked' })];
    const pieces = [
      ...large,
      chunk(objectOf(MAX_BYTES + 1)).toString(),
      LAST_CHUNK,
      ...request('POST /y', JSON_TYPE, '{}'),
    ];
    const answer = await exchange(port, pieces.join(''));
    expectRefusal(answer, 413, 'PAYLOAD_TOO_LARGE');
    expect(arrivals).toEqual(['PAYLOAD_TOO_LARGE']);
  });

  it('is refused without 100 Continue, and a fitting one asked for', async () => {
    const expecting = { ...JSON_TYPE, Expect: '100-continue' };
    const refused = await exchange(port, head('POST /x', { ...expecting, 'Content-Length': MAX_BYTES + 1 }));
    expect(refused.raw).toMatch(/^HTTP\/1\.1 413 /);

    const socket = connect(port, '127.0.0.1');
    socket.write(head('POST /x', { ...expecting, 'Content-Length': 2 }));
    const [interim] = (await once(socket, 'data')) as [Buffer];
    expect(interim.toString()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    socket.write('{}');
    expect((await answerOn(socket)).status).toBe(200);
  });
});

describe('the JSON edge and a body that is not what its length says', () => {
  it('takes no more than the length, and the rest as a malformed request', async () => {
    const headers = { ...JSON_TYPE, Connection: 'keep-alive', 'Content-Length': 2 };
    const answer = await exchange(port, head('POST /x', headers), '{}{"a":1}');
    expect(answer.raw.match(/HTTP\/1\.1 \d+/g)?.at(-1)).toBe('HTTP/1.1 400');
    expect(arrivals.filter((arrival) => arrival !== 'POST /x')).toEqual([]);
  });

  it('answers 400 to a client that ends its side within the body', async () => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.write(head('POST /x', { ...JSON_TYPE, 'Content-Length': 100 }));
    socket.end('{"a":');
    const answer = await answerOn(socket);
    socket.destroy();
    expect([answer.status, JSON.parse(answer.body).code]).toEqual([400, 'INVALID_REQUEST']);
    await closed;
    expect(arrivals).toEqual([]);
  });

  it.each(['length', 'chunked'])('forgets a request that is cut off within its body (%s)', async (framing) => {
    const framed = framing === 'length' ? { 'Content-Length': 100 } : { 'Transfer-Encoding': 'chunked' };
    const socket = connect(port, '127.0.0.1');
    socket.write(head('POST /x', { ...JSON_TYPE, ...framed }) + (framing === 'length' ? '{"a":' : '64\r\n{"a":'));
    await arrived.promise;
    socket.resetAndDestroy();
    await closed;
    expect(arrivals).toEqual([]);
  });

  it('answers 400 to chunks that are not chunks', async () => {
    const answer = await exchange(port, head('POST /x', { ...JSON_TYPE, 'Transfer-Encoding': 'chunked' }), 'zz\r\n');
    expect([answer.status, JSON.parse(answer.body).code]).toEqual([400, 'INVALID_REQUEST']);
    expect(arrivals).toEqual([]);
  });
});

function request(line: string, headers: Record<string, string>, body: string | Uint8Array): (string | Uint8Array)[] {
  return [head(line, { ...headers, 'Content-Length': Buffer.byteLength(body) }), body];
}

/** The text of a JSON object of `bytes` bytes. */
function objectOf(bytes: number): Buffer {
  return Buffer.from(`{"a":"${'x'.repeat(bytes - 8)}"}`);
}

function expectRefusal(answer: RawAnswer, status: number, code: string): void {
  expect(answer.status).toBe(status);
  expect(JSON.parse(answer.body)).toMatchObject({ code, correlationId: 'c-1' });
  expect(arrivals).toContain(code);
}
