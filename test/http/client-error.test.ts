import { once } from 'node:events';
import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http';
import { type AddressInfo, connect, Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { answerClientError } from '../../src/http/client-error.js';
import { answerOn, chunk, exchange, head, type RawAnswer } from '../support/raw-http.js';

let server: Server;

afterEach(async () => {
  if (!server?.listening) return;
  server.closeAllConnections();
  await once(server.close(), 'close');
});

describe('a client error', () => {
  it.each([
    ['a request line that is none', 'BLAH\r\n\r\n'],
    ['a header without a name', 'GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n'],
    ['two lengths', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
    ['a length and chunks', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['a TLS hello', Buffer.from('16030100050100000100', 'hex')],
  ])('answers 400 to %s', async (_, bytes) => {
    expectOneShape(await exchange(await listen(), bytes), 400, 'INVALID_REQUEST');
  });

  it('answers 431 to headers that are too large', async () => {
    const answer = await exchange(await listen(), head('GET /', { 'X-Long': 'x'.repeat(20_000) }));
    expectOneShape(answer, 431, 'INVALID_REQUEST');
  });

  it('answers 413 to chunk extensions that are too large', async () => {
    const port = await listen((req) => void req.resume());
    const chunked = head('POST /', { 'Transfer-Encoding': 'chunked' });
    expectOneShape(await exchange(port, chunked, `1;${'x'.repeat(20_000)}`), 413, 'PAYLOAD_TOO_LARGE');
  });

  it('answers 408 to a request that does not arrive in time', async () => {
    const port = await listen(undefined, { headersTimeout: 20, requestTimeout: 20, connectionsCheckingInterval: 5 });
    expectOneShape(await exchange(port, 'GET / HTTP/1.1\r\n'), 408, 'INVALID_REQUEST');
  });

  it('writes nothing into an answer that has begun', async () => {
    const port = await listen((_req, res) => void res.write('begun'));
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    socket.write(head('POST /', { 'Transfer-Encoding': 'chunked' }));
    socket.write(chunk('x'));
    const [begun] = (await once(socket, 'data')) as [Buffer];
    expect(begun.toString()).toContain('begun');
    const rest: Buffer[] = [];
    socket.on('data', (bytes) => rest.push(bytes)).write('zz\r\n');
    await new Promise((gone) => socket.once('close', gone));
    expect(Buffer.concat(rest).toString()).toBe('');
  });

  it.each(['ECONNRESET', 'EPIPE', 'HPE_INVALID_METHOD'])('leaves a destroyed socket alone (%s)', (code) => {
    const socket = new Socket().destroy();
    expect(() => answerClientError(Object.assign(new Error(), { code }), socket)).not.toThrow();
  });

  it('closes a connection that broke, without an answer', async () => {
    const port = await listen();
    server.once('connection', (socket: Socket) => {
      socket.once('data', () => answerClientError(Object.assign(new Error(), { code: 'ECONNRESET' }), socket));
    });
    const socket = connect(port, '127.0.0.1');
    socket.write('GET');
    expect((await answerOn(socket)).raw).toBe('');
  });
});

async function listen(
  onRequest: RequestListener = (_req, res) => res.end(),
  options: ServerOptions = {},
): Promise<number> {
  server = createServer(options, onRequest).on('clientError', answerClientError);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

function expectOneShape(answer: RawAnswer, status: number, code: string): void {
  expect(answer.status).toBe(status);
  expect(answer.headers).toMatchObject({
    connection: 'close',
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(answer.body.length),
  });
  expect(JSON.parse(answer.body)).toEqual({
    code,
    message: expect.any(String),
    details: {},
    timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    correlationId: answer.headers['x-correlation-id'],
  });
}
