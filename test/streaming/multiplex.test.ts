import { once } from 'node:events';
import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { WebSocket } from 'ws';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { storedEnvelopes } from '../support/fold.js';
import { followWebSocket } from '../support/follow.js';
import { MultiplexClient, SUBPROTOCOL } from '../support/multiplex-client.js';
import { createTestDatabase } from '../support/postgres.js';
import { RemoteTask } from '../support/remote-task.js';
import { eventually, type Service, startService } from '../support/service.js';
import { output, WITH_WORKERS, type WorkerEvent } from '../support/worker-client.js';

const ABSENT = '01890000-0000-7000-8000-000000000000';

describe('The multiplex subprotocol', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let service: Service;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = { DATABASE_URL: database.appUrl, HEARTBEAT_SECONDS: '1', ...WITH_WORKERS };
    service = await startService(env, { lifetime: 'file' });
    client = newPrincipal(service.url);
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  const open = (options = {}) => MultiplexClient.open(service.url, client.headers, options);
  const logOf = (taskId: string) => storedEnvelopes(database.superuserUrl, taskId);
  const typesOf = (connection: MultiplexClient, taskId: string) => connection.of(taskId).map(({ type }) => type);

  const created = async (taskType: string, input: Record<string, unknown> = {}): Promise<string> =>
    (await client.create({ clientRequestId: uniqueId(), taskType, input })).body.taskId;

  /** A task that is over, with this many events. */
  const over = async (events: number): Promise<string> => {
    const taskId = await created('demo.burst', { events: events - 2 });
    await eventually('the task is over', async () => (await client.snapshot(taskId)).body.status === 'COMPLETED');
    return taskId;
  };

  describe('is negotiated', () => {
    const selected = async (offered: string): Promise<string | undefined> => {
      const upgrade = request(`${service.url}/api/v1/tasks/ws`, {
        headers: {
          ...client.headers,
          Connection: 'Upgrade',
          Upgrade: 'websocket',
          'Sec-WebSocket-Version': '13',
          'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
          'Sec-WebSocket-Protocol': offered,
        },
      });
      upgrade.end();
      const [response, socket] = (await once(upgrade, 'upgrade')) as [
        { headers: Record<string, string> },
        { destroy(): void },
      ];
      socket.destroy();
      return response.headers['sec-websocket-protocol'];
    };

    it.each([
      ['offered alone', SUBPROTOCOL],
      ['offered last of several', `graphql-ws, other.v2, ${SUBPROTOCOL}`],
      ['offered first of several', `${SUBPROTOCOL}, other`],
    ])('when it is %s', async (_how, offered) => {
      expect(await selected(offered)).toBe(SUBPROTOCOL);
    });

    it.each(['other', 'taskbridge.multiplex.v2', 'taskbridge.multiplex.V1'])('not for %s', async (offered) => {
      expect(await selected(offered)).toBeUndefined();
    });

    it('not without an offer, where its frames are refused', async () => {
      const socket = new WebSocket(`${service.url.replace('http', 'ws')}/api/v1/tasks/ws`, { headers: client.headers });
      await once(socket, 'open');
      socket.send(JSON.stringify({ action: 'unsubscribe', taskId: ABSENT }));
      expect((await once(socket, 'close'))[0]).toBe(4400);
    });
  });

  describe('on one task', () => {
    it('confirms, replays, says when it has caught up, goes on live and says when it is over', async () => {
      const task = await RemoteTask.begin(client);
      const { taskId } = task;
      await task.progress(10);
      const connection = await open();
      connection.subscribe(taskId, { lastEventId: '1' });
      await connection.frame(({ type }) => type === 'CAUGHT_UP');
      await task.progress(20);
      await task.complete({ done: true });
      await connection.until(() => connection.ended(taskId));
      const [second, third, fourth] = (await logOf(taskId)).slice(1);
      expect(connection.of(taskId).map(({ raw }) => raw)).toEqual([
        JSON.stringify({
          type: 'SUBSCRIPTION_CONFIRMED',
          taskId,
          replayStartedAfterEventId: '1',
          live: true,
          headEventId: '2',
        }),
        second,
        JSON.stringify({ type: 'CAUGHT_UP', taskId, headEventId: '2' }),
        third,
        fourth,
        JSON.stringify({ type: 'SUBSCRIPTION_ENDED', taskId, reason: 'terminal' }),
      ]);
      connection.leave();
    });

    it('says that it has caught up right after the head, though more was stored meanwhile', async () => {
      const task = await RemoteTask.begin(client);
      const connection = await open();
      let stored = 1;
      const writing = (async () => {
        while (stored < 150) stored = Number(await task.progress(stored / 2));
      })();
      await eventually('some are stored', () => stored > 20);
      connection.subscribe(task.taskId);
      await writing;
      await connection.until(() => connection.envelopes(task.taskId).length === 150);
      const { headEventId = '' } = connection.frames[0] ?? {};
      const types = typesOf(connection, task.taskId);
      expect(Number(headEventId)).toBeGreaterThan(20);
      expect(types.indexOf('CAUGHT_UP')).toBe(Number(headEventId) + 1);
      expect(types.filter((type) => type === 'CAUGHT_UP')).toHaveLength(1);
      connection.leave();
      await task.complete();
    });

    it('has caught up at once where there is no history', async () => {
      const connection = await open();
      const taskId = await created(uniqueId('waits'));
      connection.subscribe(taskId, { lastEventId: null });
      const frame = await connection.frame(({ type }) => type === 'CAUGHT_UP');
      expect(frame.headEventId).toBe('0');
      expect(typesOf(connection, taskId)).toEqual(['SUBSCRIPTION_CONFIRMED', 'CAUGHT_UP']);
      connection.leave();
    });

    it.each([
      ['none', undefined, 10],
      ['in the middle', '4', 6],
      ['at the end', '10', 0],
    ])('that is over replays the rest and ends, with a cursor %s', async (_where, lastEventId, rest) => {
      const taskId = await over(10);
      const connection = await open();
      connection.subscribe(taskId, lastEventId === undefined ? {} : { lastEventId });
      await connection.until(() => connection.ended(taskId));
      expect(connection.envelopes(taskId)).toEqual((await logOf(taskId)).slice(10 - rest));
      expect(typesOf(connection, taskId).slice(-2)).toEqual(['CAUGHT_UP', 'SUBSCRIPTION_ENDED']);
      connection.leave();
    });

    it('stays open after its end, for the next one', async () => {
      const [first, second] = await Promise.all([over(3), over(4)]);
      const connection = await open();
      for (const taskId of [first, second, first]) {
        const before = connection.frames.length;
        connection.subscribe(taskId);
        await connection.until(() => connection.frames.slice(before).some(({ type }) => type === 'SUBSCRIPTION_ENDED'));
      }
      expect(connection.closed).toBeUndefined();
      expect(connection.envelopes(first)).toEqual([...(await logOf(first)), ...(await logOf(first))]);
      connection.leave();
    });

    it('refuses a second subscription, and the first goes on', async () => {
      const task = await RemoteTask.begin(client);
      const connection = await open();
      connection.subscribe(task.taskId);
      connection.subscribe(task.taskId, { ref: 'again' });
      await connection.frame(({ code }) => code === 'ALREADY_SUBSCRIBED');
      connection.subscribe(task.taskId, { lastEventId: '1', ref: 'and again' });
      const error = await connection.frame(({ ref }) => ref === 'and again');
      expect(error).toMatchObject({ type: 'ERROR', taskId: task.taskId, code: 'ALREADY_SUBSCRIBED' });
      await task.complete();
      await connection.until(() => connection.ended(task.taskId));
      expect(connection.envelopes(task.taskId)).toEqual(await logOf(task.taskId));
      connection.leave();
    });
  });

  describe('on many tasks', () => {
    it('delivers every event of 50 tasks once, in order, byte by byte', async () => {
      const connection = await open();
      const taskIds = await Promise.all(
        Array.from({ length: 50 }, (_, n) =>
          n % 2 === 0
            ? created('demo.burst', { events: 20 + n * 8 })
            : created('demo.greet', { steps: 5 + n, stepMs: 5 }),
        ),
      );
      for (const taskId of taskIds) connection.subscribe(taskId);
      await connection.until(() => taskIds.every((taskId) => connection.ended(taskId)), 30_000);
      for (const taskId of taskIds) expect(connection.envelopes(taskId)).toEqual(await logOf(taskId));
      expect(connection.frames.filter(({ type }) => type === 'SUBSCRIPTION_ENDED')).toHaveLength(50);
      connection.leave();
    }, 60_000);

    it('goes on with the others when one is left, which resumes where it was left', async () => {
      const [left, stays] = await Promise.all([RemoteTask.begin(client), RemoteTask.begin(client)]);
      const connection = await open();
      for (const { taskId } of [left, stays]) connection.subscribe(taskId);
      await left.progress(1);
      await connection.until(() => connection.envelopes(left.taskId).length === 2);
      connection.unsubscribe(left.taskId);
      const ended = await connection.frame(({ type }) => type === 'SUBSCRIPTION_ENDED');
      expect(ended).toMatchObject({ taskId: left.taskId, reason: 'unsubscribed' });
      await left.progress(2);
      await stays.complete();
      await connection.until(() => connection.ended(stays.taskId));
      expect(connection.envelopes(left.taskId)).toHaveLength(2);
      expect(connection.envelopes(stays.taskId)).toEqual(await logOf(stays.taskId));
      connection.subscribe(left.taskId, { lastEventId: '2' });
      await left.complete();
      await connection.until(() => connection.envelopes(left.taskId).length === 4);
      expect(connection.envelopes(left.taskId)).toEqual(await logOf(left.taskId));
      connection.leave();
    });

    it('sends nothing of a task after its end, while its events are being written', async () => {
      const connection = await open();
      const taskIds = await Promise.all(Array.from({ length: 5 }, () => created('demo.burst', { events: 5_000 })));
      for (const taskId of taskIds) connection.subscribe(taskId);
      await connection.until(() => taskIds.every((taskId) => connection.envelopes(taskId).length > 100));
      for (const taskId of taskIds) connection.unsubscribe(taskId);
      await connection.until(() => taskIds.every((taskId) => connection.ended(taskId)));
      // A stream that goes on would be seen in front of this.
      connection.subscribe(ABSENT);
      await connection.frame(({ code }) => code === 'TASK_NOT_FOUND');
      for (const taskId of taskIds) {
        expect(typesOf(connection, taskId).at(-1)).toBe('SUBSCRIPTION_ENDED');
        const envelopes = connection.envelopes(taskId);
        expect(envelopes).toEqual((await logOf(taskId)).slice(0, envelopes.length));
      }
      connection.leave();
    }, 60_000);

    it('takes frames in the order in which they arrive, however many are under way', async () => {
      const tasks = await Promise.all(Array.from({ length: 10 }, () => RemoteTask.begin(client)));
      const connection = await open();
      connection.together(() => {
        for (const { taskId } of tasks) connection.subscribe(taskId);
        for (let round = 0; round < 5; round++) {
          for (const { taskId } of tasks) connection.unsubscribe(taskId);
          for (const { taskId } of tasks) connection.subscribe(taskId, { lastEventId: String(round % 2) });
        }
        for (const { taskId } of tasks) connection.unsubscribe(taskId);
        for (const { taskId } of tasks) connection.unsubscribe(taskId);
        for (const { taskId } of tasks) connection.subscribe(taskId);
      });
      const toldOf = (taskId: string) =>
        connection
          .of(taskId)
          .filter(({ eventId, type }) => eventId === undefined && type !== 'CAUGHT_UP')
          .map(({ type, code, reason }) => code ?? reason ?? type);
      await connection.until(() => tasks.every(({ taskId }) => toldOf(taskId).length === 14));
      await Promise.all(tasks.map((task) => task.complete()));
      await connection.until(() => tasks.every(({ taskId }) => toldOf(taskId).at(-1) === 'terminal'));
      for (const { taskId } of tasks) {
        const told = toldOf(taskId);
        // Of the second of two frames that leave the task. It waits for no answer to an earlier frame, so it has no place among them.
        expect(told.filter((code) => code === 'NOT_SUBSCRIBED')).toHaveLength(1);
        expect(told.filter((code) => code !== 'NOT_SUBSCRIBED')).toEqual([
          ...Array(6).fill(['SUBSCRIPTION_CONFIRMED', 'unsubscribed']).flat(),
          'SUBSCRIPTION_CONFIRMED',
          'terminal',
        ]);
      }
      connection.leave();
    }, 60_000);
  });

  describe('says of one subscription only', () => {
    it('that a task is not there, in the same way for foreign and for absent ones', async () => {
      const foreign = (await newPrincipal(service.url).create({ clientRequestId: uniqueId(), taskType: 'demo.echo' }))
        .body.taskId;
      const connection = await open();
      connection.subscribe(foreign, { ref: 'f' });
      connection.subscribe(ABSENT, { ref: 'a' });
      connection.subscribe('nobody-knows-it', { lastEventId: '7' });
      await connection.until(() => connection.frames.length === 3);
      const message = connection.frames[0]?.message;
      const error = (taskId: string, ref?: string) =>
        JSON.stringify({ type: 'ERROR', taskId, ref, code: 'TASK_NOT_FOUND', message });
      expect(connection.frames.map(({ raw }) => raw).sort()).toEqual(
        [error(foreign, 'f'), error(ABSENT, 'a'), error('nobody-knows-it')].sort(),
      );
      connection.subscribe(await over(2));
      await connection.frame(({ type }) => type === 'SUBSCRIPTION_ENDED');
      connection.leave();
    });

    it.each([
      ['a malformed cursor', 'x', 'INVALID_CURSOR'],
      ['a cursor ahead', '99', 'CURSOR_AHEAD'],
    ])('that it has %s, and takes a better one', async (_what, lastEventId, code) => {
      const taskId = await over(5);
      const connection = await open();
      connection.subscribe(taskId, { lastEventId, ref: 'r1' });
      expect(await connection.frame(({ type }) => type === 'ERROR')).toMatchObject({ taskId, ref: 'r1', code });
      connection.subscribe(taskId, { lastEventId: '4' });
      await connection.until(() => connection.ended(taskId));
      expect(connection.envelopes(taskId)).toHaveLength(1);
      connection.leave();
    });

    it('that there is nothing to unsubscribe from', async () => {
      const connection = await open();
      connection.unsubscribe(ABSENT);
      const error = await connection.frame(({ type }) => type === 'ERROR');
      expect(error).toMatchObject({ taskId: ABSENT, code: 'NOT_SUBSCRIBED' });
      expect(connection.closed).toBeUndefined();
      connection.leave();
    });
  });

  describe('closes the connection', () => {
    const taskId = ABSENT;
    it.each([
      ['no JSON', 'subscribe please'],
      ['an array', '[]'],
      ['an unknown action', { action: 'shout', taskId }],
      ['an unknown member', { action: 'subscribe', taskId, afterEventId: '1' }],
      ['an unknown member of unsubscribe', { action: 'unsubscribe', taskId, ref: 'r' }],
      ['a ref that is no string', { action: 'subscribe', taskId, ref: 1 }],
      ['a ref of null', { action: 'subscribe', taskId, ref: null }],
      ['a ref of 256 characters', { action: 'subscribe', taskId, ref: 'r'.repeat(256) }],
      ['a cursor that is a number', { action: 'subscribe', taskId, lastEventId: 1 }],
      ['a list of tasks', { action: 'subscribe', taskId: [taskId] }],
      ['no taskId', { action: 'unsubscribe' }],
      ['a doubled member', `{"action":"subscribe","taskId":"a","taskId":"${taskId}"}`],
    ])('with 4400 on %s, whatever else it carries', async (_what, frame) => {
      const task = await created('demo.sleep', { ms: 60_000 });
      const connection = await open();
      connection.subscribe(task);
      await connection.frame(({ type }) => type === 'CAUGHT_UP');
      connection.send(frame);
      const reason = expect.stringMatching(/^(INVALID_REQUEST|REQUEST_VALIDATION_ERROR)$/);
      expect(await connection.close()).toEqual({ code: 4400, reason });
      await client.cancel(task);
    });

    it('with 1003 on a binary frame and 1009 on one of more than 64 KiB', async () => {
      const [binary, large] = await Promise.all([open(), open()]);
      binary.socket.send(Buffer.from('{}'));
      large.send('x'.repeat(65_537));
      expect([(await binary.close()).code, (await large.close()).code]).toEqual([1003, 1009]);
    });

    it('with 4401 for a browser whose principal does not count', async () => {
      const headers = { 'X-Principal-Id': '-nobody', Origin: service.url };
      const connection = await MultiplexClient.open(service.url, headers);
      expect(await connection.close()).toEqual({ code: 4401, reason: 'AUTHENTICATION_ERROR' });
    });
  });

  it('shows by heartbeats of no task that a connection lives, also between subscriptions', async () => {
    const connection = await open();
    const taskId = await over(2);
    connection.subscribe(taskId);
    await connection.until(() => connection.ended(taskId));
    const heartbeat = await connection.frame(({ type }) => type === 'HEARTBEAT');
    expect(heartbeat.raw).toBe('{"type":"HEARTBEAT","live":true}');
    await connection.until(() => connection.frames.filter(({ type }) => type === 'HEARTBEAT').length === 3);
    connection.leave();
  });

  it('counts each subscription as a stream, until it is over', async () => {
    const limited = await startService({ DATABASE_URL: database.appUrl, STREAMS_PER_PRINCIPAL: '2', ...WITH_WORKERS });
    const caller = newPrincipal(limited.url);
    const sleeping = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const body = { clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 60_000 } };
        return (await caller.create(body)).body.taskId;
      }),
    );
    const [a = '', b = '', c = '', d = ''] = sleeping;
    const connection = await MultiplexClient.open(limited.url, caller.headers);
    const other = await MultiplexClient.open(limited.url, caller.headers);
    for (const taskId of [a, b]) connection.subscribe(taskId);
    await connection.until(() => connection.frames.filter(({ type }) => type === 'CAUGHT_UP').length === 2);
    for (const refused of [connection, other]) {
      refused.subscribe(c, { ref: 'c' });
      expect(await refused.frame(({ ref }) => ref === 'c')).toMatchObject({ taskId: c, code: 'TOO_MANY_REQUESTS' });
    }
    // The place is free for the very next frame.
    connection.together(() => {
      connection.unsubscribe(a);
      connection.subscribe(d);
    });
    await connection.frame(({ type, taskId }) => type === 'CAUGHT_UP' && taskId === d);
    await caller.cancel(b);
    await connection.until(() => connection.ended(b));
    other.subscribe(c);
    await other.frame(({ type }) => type === 'CAUGHT_UP');
    other.unsubscribe(c);
    // A stream that cannot end yet, because its client does not read, keeps its place, too.
    const large = await RemoteTask.begin(caller);
    for (let n = 0; n < 50; n += 1) await large.append(...Array<WorkerEvent>(4).fill(output('x'.repeat(60_000))));
    other.subscribe(large.taskId);
    await other.frame(({ taskId }) => taskId === large.taskId);
    other.socket.pause();
    await delay(500);
    other.unsubscribe(large.taskId);
    other.subscribe(a, { ref: 'a' });
    await delay(500);
    other.socket.resume();
    await other.frame(({ type, taskId }) => type === 'CAUGHT_UP' && taskId === a);
    connection.leave();
    other.leave();
    await limited.stop();
  }, 60_000);

  it('closes with 4001 a connection that is as old as it may get, and with 1012 one that does not speak it', async () => {
    const aging = await startService({ DATABASE_URL: database.appUrl, STREAM_MAX_SECONDS: '2' });
    const caller = newPrincipal(aging.url);
    const follows = await MultiplexClient.open(aging.url, caller.headers);
    const idle = await MultiplexClient.open(aging.url, caller.headers);
    const body = { clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 60_000 } };
    const { taskId } = (await caller.create(body)).body;
    follows.subscribe(taskId);
    const plain = followWebSocket(aging.url, taskId, null, caller.headers);
    const ends = await Promise.all([follows.close(), idle.close(), plain.end()]);
    const old = { code: 4001, reason: 'MAX_AGE' };
    expect(ends).toEqual([old, old, { kind: 'close', code: 1012, reason: 'MAX_AGE' }]);
    await aging.stop();
  }, 60_000);

  it('sends every connection away in a drain, with RECONNECT and then 1012', async () => {
    const draining = await startService({ DATABASE_URL: database.appUrl });
    const caller = newPrincipal(draining.url);
    const connections = await Promise.all(
      Array.from({ length: 20 }, () => MultiplexClient.open(draining.url, caller.headers)),
    );
    const taskIds = await Promise.all(
      Array.from({ length: 3 }, async () => {
        const body = { clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 600 } };
        return (await caller.create(body)).body.taskId;
      }),
    );
    // The last one follows nothing.
    for (const connection of connections.slice(1)) for (const taskId of taskIds) connection.subscribe(taskId);
    await Promise.all(
      connections.slice(1).map((c) => c.until(() => c.frames.filter(({ type }) => type === 'CAUGHT_UP').length === 3)),
    );
    const stopped = draining.stop();
    for (const connection of connections) {
      expect(await connection.close()).toEqual({ code: 1012, reason: 'DRAINING' });
      const { type, afterMs, reason } = connection.frames.at(-1) ?? {};
      expect({ type, reason }).toEqual({ type: 'RECONNECT', reason: 'draining' });
      expect(afterMs).toBeGreaterThanOrEqual(1_000);
      expect(afterMs).toBeLessThanOrEqual(5_000);
      expect(connection.frames.filter((frame) => frame.type === 'RECONNECT')).toHaveLength(1);
    }
    expect(await stopped).toEqual({ code: 0, signal: null });
  }, 60_000);
});
