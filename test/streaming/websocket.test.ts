import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { WebSocket } from 'ws';
import { type Client, expectError, newPrincipal, rawBytes, uniqueId } from '../support/client.js';
import { followWebSocket, openWebSocket, type Reader, recordWebSocket } from '../support/follow.js';
import { createTestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';

describe('The WebSocket without a subprotocol', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let service: Service;
  let strict: Service;
  let client: Client;
  let taskId: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = { DATABASE_URL: database.appUrl };
    [service, strict] = await Promise.all([
      startService(env, { lifetime: 'file' }),
      startService({ ...env, REQUIRE_AUTHENTICATED_PRINCIPAL: 'true' }, { lifetime: 'file' }),
    ]);
    client = newPrincipal(service.url);
    const created = await client.create({
      clientRequestId: uniqueId(),
      taskType: 'demo.sleep',
      input: { ms: 600_000 },
    });
    taskId = created.body.taskId;
  });

  afterAll(async () => {
    await Promise.all([service.stop(), strict.stop()]);
    await database.drop();
  });

  const open = async (headers: Record<string, string> = client.headers) => {
    const socket = openWebSocket(service.url, headers);
    const reader = recordWebSocket(socket);
    await once(socket, 'open');
    return { socket, reader };
  };

  /** What the server makes of the first thing a client sends. */
  const afterSending = async (send: (socket: WebSocket) => void): Promise<Reader> => {
    const { socket, reader } = await open();
    send(socket);
    await reader.end();
    return reader;
  };

  const subscribe = (members: Record<string, unknown> = {}) =>
    JSON.stringify({ action: 'subscribe', taskId, ...members });

  it('confirms a subscription before anything else and stays open while the task runs', async () => {
    const reader = followWebSocket(service.url, taskId, null, client.headers);
    await reader.waitFor(({ events }) => events.length === 1);
    reader.close();
    expect(JSON.parse(reader.frames[0] ?? '')).toMatchObject({
      type: 'SUBSCRIPTION_CONFIRMED',
      replayStartedAfterEventId: null,
    });
  });

  it.each([
    ['null', null],
    ['an empty string', ''],
    ['"0"', '0'],
  ])('takes a lastEventId of %s for the start', async (_what, lastEventId) => {
    const reader = followWebSocket(service.url, taskId, lastEventId, client.headers);
    await reader.waitFor(({ events }) => events.length === 1);
    reader.close();
    expect(reader.events[0]?.eventId).toBe('1');
  });

  it.each([
    ['no JSON', '{"action":'],
    ['an empty text', ''],
    ['a JSON array', '[]'],
    ['a JSON string', '"subscribe"'],
    ['JSON null', 'null'],
    ['no action', '{}'],
    ['an unknown action', '{"action":"shout"}'],
    ['the name of an inherited property as action', '{"action":"constructor"}'],
    ['an action that is no string', '{"action":{"subscribe":1}}'],
    ['the unsubscribe of the other subprotocol', '{"action":"unsubscribe","taskId":"x"}'],
    ['no taskId', '{"action":"subscribe"}'],
    ['a taskId that is no string', '{"action":"subscribe","taskId":7}'],
    ['a JSON text nested 5000 deep', `${'['.repeat(5000)}${']'.repeat(5000)}`],
  ])('closes with 4400 on %s', async (_what, frame) => {
    const reader = await afterSending((socket) => socket.send(frame));
    expect(await reader.ended).toEqual({ kind: 'close', code: 4400, reason: expect.stringMatching(/^[A-Z_]+/) });
  });

  it.each([
    ['an unknown member', { unknown: 1 }],
    ['the ref of the other subprotocol', { ref: 'r' }],
    ['a lastEventId that is a number', { lastEventId: 1 }],
    ['a lastEventId that is an object', { lastEventId: {} }],
  ])('closes with 4400 on a subscription with %s', async (_what, members) => {
    const reader = await afterSending((socket) => socket.send(subscribe(members)));
    expect(await reader.ended).toMatchObject({ kind: 'close', code: 4400 });
  });

  it('closes with 4400 and INVALID_CURSOR on a malformed cursor', async () => {
    const reader = await afterSending((socket) => socket.send(subscribe({ lastEventId: 'x' })));
    expect(await reader.ended).toEqual({
      kind: 'close',
      code: 4400,
      reason: expect.stringContaining('INVALID_CURSOR'),
    });
  });

  it('closes with 4409 and CURSOR_AHEAD on a cursor beyond the log', async () => {
    const reader = await afterSending((socket) => socket.send(subscribe({ lastEventId: '99' })));
    expect(await reader.ended).toEqual({ kind: 'close', code: 4409, reason: expect.stringContaining('CURSOR_AHEAD') });
  });

  it.each([
    ['without a mask', [0x81, 0x01, 0x78]],
    ['with an unknown opcode', [0x83, 0x80, 0, 0, 0, 0]],
    ['with a reserved bit', [0xc1, 0x80, 0, 0, 0, 0]],
  ])('closes with 1002 on a frame %s', async (_, bytes) => {
    const reader = await afterSending((socket) => {
      (socket as unknown as { readonly _socket: { write(frame: Uint8Array): void } })._socket.write(
        Uint8Array.from(bytes),
      );
    });
    expect(await reader.ended).toMatchObject({ kind: 'close', code: 1002 });
  });

  it('closes with 1003 on a binary frame', async () => {
    const reader = await afterSending((socket) => socket.send(Buffer.from(subscribe())));
    expect(await reader.ended).toMatchObject({ kind: 'close', code: 1003 });
  });

  it('closes with 1007 on a text frame that is no UTF-8', async () => {
    const reader = await afterSending((socket) => socket.send(Buffer.from([0x7b, 0xff, 0x7d]), { binary: false }));
    expect(await reader.ended).toMatchObject({ kind: 'close', code: 1007 });
  });

  it('closes with 1009 on a frame of more than 64 KiB', async () => {
    const reader = await afterSending((socket) => socket.send(subscribe({ taskId: 'x'.repeat(65_536) })));
    expect(await reader.ended).toMatchObject({ kind: 'close', code: 1009 });
  });

  it('reads a frame of 64 KiB', async () => {
    const frame = subscribe().padEnd(65_536, ' ');
    const { socket, reader } = await open();
    socket.send(frame);
    await reader.waitFor(({ events }) => events.length === 1);
    reader.close();
  });

  it('confirms no subscription that it refuses', async () => {
    const reader = await afterSending((socket) => socket.send(subscribe({ lastEventId: '99' })));
    expect(reader.frames).toEqual([]);
  });

  it('closes with 4404 on a foreign task exactly as on an absent one', async () => {
    const [foreign, absent, malformed] = await Promise.all([
      followWebSocket(service.url, taskId, null, newPrincipal(service.url).headers).end(),
      followWebSocket(service.url, taskId.replace(/.{12}$/, 'ffffffffffff'), null, client.headers).end(),
      followWebSocket(service.url, 'nobody-knows-it', null, client.headers).end(),
    ]);
    expect(foreign).toEqual({ kind: 'close', code: 4404, reason: expect.stringContaining('TASK_NOT_FOUND') });
    expect([absent, malformed]).toEqual([foreign, foreign]);
  });

  it('tells a foreigner nothing by a cursor ahead', async () => {
    const foreign = await followWebSocket(service.url, taskId, '99', newPrincipal(service.url).headers).end();
    expect(foreign).toMatchObject({ kind: 'close', code: 4404 });
  });

  describe('without proof of a principal', () => {
    const UNPROVED: readonly [string, () => string, Record<string, string>][] = [
      ['absent where one is required', () => strict.url, {}],
      ['malformed', () => service.url, { 'X-Principal-Id': '-alice' }],
      ['empty', () => service.url, { 'X-Principal-Id': '' }],
      ['reserved', () => service.url, { 'X-Principal-Id': '00000000-0000-0000-0000-000000000000' }],
    ];

    it.each(UNPROVED)('answers the handshake with 401 on a principal that is %s', async (_what, url, headers) => {
      const ended = await followWebSocket(url(), taskId, null, headers).end();
      expect(ended).toMatchObject({ kind: 'status', code: 401 });
      expect(ended.reason).toContain('AUTHENTICATION_ERROR');
    });

    it.each(UNPROVED)('closes a browser with 4401 on a principal that is %s', async (_what, url, headers) => {
      const ended = await followWebSocket(url(), taskId, null, { ...headers, Origin: url() }).end();
      expect(ended).toEqual({ kind: 'close', code: 4401, reason: 'AUTHENTICATION_ERROR' });
    });

    it('has the one error shape, a correlation id, a line in the log, and ends the connection', async () => {
      const handshake = [
        'GET /api/v1/tasks/ws HTTP/1.1',
        'Host: localhost',
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
        'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      ];
      // Resolves when the service has ended the connection.
      const answer = await rawBytes(strict.url, `${handshake.join('\r\n')}\r\n\r\n`);
      const correlationId = '4bf92f35-77b3-4da6-a3ce-929d0e0e4736';
      const { code, details } = expectError(answer, 401, 'AUTHENTICATION_ERROR');
      expect({ code, details }).toEqual({ code: 'AUTHENTICATION_ERROR', details: {} });
      expect(answer.headers.get('x-correlation-id')).toBe(correlationId);
      expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
      await eventually('the access log has the refusal', () =>
        strict
          .stdout()
          .split('\n')
          .some(
            (line) => line.includes(correlationId) && line.includes('http_request.completed') && line.includes('401'),
          ),
      );
    });
  });

  it('opens at its path with a slash at the end, with and without a query', async () => {
    for (const path of ['/api/v1/tasks/ws/', '/api/v1/tasks/ws/?x=1']) {
      const socket = openWebSocket(service.url, client.headers, path);
      const reader = recordWebSocket(socket);
      await once(socket, 'open');
      socket.send(subscribe());
      await reader.waitFor(({ events }) => events.length === 1);
      reader.close();
    }
  });

  it.each(['/api/v1/tasks/ws//', '/api/v1/tasks/wss', '/api/v1/tasks//ws', '/api/v1/tasks/WS'])(
    'opens nothing at %s',
    async (path) => {
      const ended = await recordWebSocket(openWebSocket(service.url, client.headers, path)).end();
      expect(ended.kind).not.toBe('close');
    },
  );

  it('refuses a browser that comes from a foreign origin, before or after the upgrade', async () => {
    const ended = await followWebSocket(service.url, taskId, null, {
      ...client.headers,
      Origin: 'https://evil.example',
    }).end();
    expect([403, 4403]).toContain(ended.code);
    expect(ended.reason).toContain('ACCESS_DENIED');
  });

  it('welcomes a browser from the same host', async () => {
    const reader = followWebSocket(service.url, taskId, null, { ...client.headers, Origin: service.url });
    await reader.waitFor(({ events }) => events.length === 1);
    reader.close();
  });

  it('closes with 4408 when nobody subscribes within 10 s', async () => {
    const { reader } = await open();
    expect(await reader.end(15_000)).toMatchObject({ kind: 'close', code: 4408 });
  });

  it('answers an upgrade on another path without opening a WebSocket', async () => {
    const socket = openWebSocket(`${service.url}/elsewhere`, client.headers);
    const ended = await recordWebSocket(socket).end();
    expect(ended.kind).not.toBe('close');
  });
});
