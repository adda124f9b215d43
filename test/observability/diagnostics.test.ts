import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { StoredEvent } from '../../src/tasks/domain/stored-event.js';
import { Channel } from '../../src/following/channel.js';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { followLongPoll, followSse, followWebSocket } from '../support/follow.js';
import { MultiplexClient } from '../support/multiplex-client.js';
import { createTestDatabase } from '../support/postgres.js';
import { RemoteTask } from '../support/remote-task.js';
import { eventually, type Service, startService } from '../support/service.js';
import { output, WITH_WORKERS } from '../support/worker-client.js';

const HOST_MODULE = fileURLToPath(new URL('../support/diagnosing-host.js', import.meta.url));

interface Said {
  readonly diagnostics: string;
  readonly taskId?: string;
  readonly transport?: string;
  readonly reason?: string;
  readonly events?: number;
}

describe('A TransportDiagnosticsSink', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let service: Service;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = { DATABASE_URL: database.appUrl, HEARTBEAT_SECONDS: '1', STREAM_MAX_BUFFERED_BYTES: '1024' };
    service = await startService({ ...env, ...WITH_WORKERS, HOST_MODULE }, { lifetime: 'file' });
    client = newPrincipal(service.url);
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  const said = (of: Service = service): Said[] =>
    of
      .stdout()
      .split('\n')
      .flatMap((line) => (line.startsWith('{"diagnostics"') && line.endsWith('}') ? [JSON.parse(line) as Said] : []));
  const heard = (fits: Partial<Said>, of: Service = service) =>
    eventually(`it hears ${JSON.stringify(fits)}`, () =>
      said(of).find((call) => Object.entries(fits).every(([name, value]) => call[name as keyof Said] === value)),
    );
  const created = async (taskType: string, input = {}) =>
    (await client.create({ clientRequestId: uniqueId(), taskType, input })).body.taskId;

  it.each([
    ['websocket', followWebSocket, 'terminal'],
    ['sse', followSse, 'terminal'],
    ['long_poll', followLongPoll, undefined],
  ])('hears of replay, delivery and end over %s', async (transport, follow, reason) => {
    const taskId = await created('demo.echo', { a: 1 });
    await follow(service.url, taskId, null, client.headers).end();
    await follow(service.url, taskId, '1', client.headers).end();
    const replay = { diagnostics: 'replayStarted', taskId, transport, afterEventId: '1' };
    expect(await heard(replay as Partial<Said>)).toEqual(replay);
    const delivery = { diagnostics: 'delivered', taskId, transport, events: 1, lastEventId: '2' };
    expect(await heard(delivery as Partial<Said>)).toEqual(delivery);
    if (reason !== undefined) await heard({ diagnostics: 'disconnected', taskId, transport, reason });
  });

  it('hears of heartbeats, with the task where there is one', async () => {
    const taskId = await created('demo.sleep', { ms: 60_000 });
    const readers = [followWebSocket, followSse].map((follow) => follow(service.url, taskId, null, client.headers));
    const connection = await MultiplexClient.open(service.url, client.headers);
    connection.subscribe(taskId);
    await heard({ diagnostics: 'heartbeatSent', transport: 'websocket', taskId });
    await heard({ diagnostics: 'heartbeatSent', transport: 'sse', taskId });
    await eventually('one without a task', () =>
      said().some(({ diagnostics, taskId: of }) => diagnostics === 'heartbeatSent' && of === undefined),
    );
    connection.unsubscribe(taskId);
    await heard({ diagnostics: 'disconnected', taskId, transport: 'websocket', reason: 'unsubscribed' });
    for (const reader of readers) reader.close();
    await heard({ diagnostics: 'disconnected', taskId, transport: 'websocket', reason: 'client_left' });
    await heard({ diagnostics: 'disconnected', taskId, transport: 'sse', reason: 'client_left' });
    connection.leave();
    await client.cancel(taskId);
  });

  it('hears that a client broke the protocol, for each of its streams', async () => {
    const taskIds = [uniqueId('waits'), uniqueId('waits')];
    const tasks = await Promise.all(taskIds.map((taskType) => created(taskType)));
    const connection = await MultiplexClient.open(service.url, client.headers);
    for (const taskId of tasks) connection.subscribe(taskId);
    await connection.until(() => tasks.every((taskId) => connection.of(taskId).length === 2));
    connection.send('nonsense');
    for (const taskId of tasks) await heard({ diagnostics: 'disconnected', taskId, reason: 'refused' });
  });

  it('hears of a hole that the live log left', async () => {
    const task = await RemoteTask.begin(client);
    const reader = followWebSocket(service.url, task.taskId, null, client.headers);
    await reader.waitFor(({ events }) => events.length === 1);
    await connected(database.superuserUrl, async (db) => {
      await db.query(
        `WITH moved AS (UPDATE taskbridge.proj_tasks SET head_event_id = 2 WHERE task_id = $1 RETURNING task_id)
         INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
         SELECT task_id, 2, 'TASK_PROGRESS', '{"progress":1}', task_id, 'test' FROM moved`,
        [task.taskId],
      );
    });
    await reader.waitFor(({ events }) => events.length === 2);
    await heard({ diagnostics: 'holeHealed', taskId: task.taskId });
    reader.close();
  });

  it('hears of a client that does not read', async () => {
    const task = await RemoteTask.begin(client);
    const connection = await MultiplexClient.open(service.url, client.headers);
    connection.subscribe(task.taskId);
    await connection.frame(({ type }) => type === 'CAUGHT_UP');
    connection.socket.pause();
    for (let n = 0; n < 30; n++)
      await task.append(...Array.from({ length: 4 }, () => output('x'.repeat(60_000), uniqueId())));
    await eventually(
      'it hears of the slow consumer',
      () => said().some(({ diagnostics, taskId }) => diagnostics === 'slowConsumer' && taskId === task.taskId),
      20_000,
    );
    await heard({ diagnostics: 'disconnected', taskId: task.taskId, reason: 'slow_consumer' });
    connection.leave();
  });

  it('hears of age and of the drain', async () => {
    const env = { DATABASE_URL: database.appUrl, ...WITH_WORKERS, HOST_MODULE };
    const aging = await startService({ ...env, STREAM_MAX_SECONDS: '1' });
    const taskId = await created('demo.sleep', { ms: 60_000 });
    const old = followSse(aging.url, taskId, null, client.headers);
    await old.end();
    await heard({ diagnostics: 'disconnected', taskId, reason: 'max_age' }, aging);
    await aging.stop();

    const draining = await startService(env);
    const sent = followWebSocket(draining.url, taskId, null, client.headers);
    await sent.waitFor(({ events }) => events.length === 1);
    const stopped = draining.stop();
    await sent.end();
    await heard({ diagnostics: 'disconnected', taskId, reason: 'draining' }, draining);
    await stopped;
    await client.cancel(taskId);
  }, 60_000);
});

describe('/metrics', () => {
  it('measures from the commit to the client for live events, once an event', async () => {
    const database = await createTestDatabase();
    const service = await startService({ DATABASE_URL: database.appUrl, ...WITH_WORKERS });
    const client = newPrincipal(service.url);
    const measured = async () => {
      const text = await (await fetch(`${service.url}/metrics`)).text();
      const at = (name: string) =>
        Number(new RegExp(`^taskbridge_commit_to_delivery_seconds_${name} (.+)$`, 'm').exec(text)?.[1]);
      return { count: at('count'), sum: at('sum') };
    };
    const task = await RemoteTask.begin(client);
    const readers = [followWebSocket, followSse, followWebSocket].map((follow) =>
      follow(service.url, task.taskId, null, client.headers),
    );
    await Promise.all(readers.map((reader) => reader.waitFor(({ events }) => events.length === 1)));
    expect(await measured()).toEqual({ count: 0, sum: 0 });
    for (let n = 1; n <= 10; n++) {
      await task.progress(n);
      await Promise.all(readers.map((reader) => reader.waitFor(({ events }) => events.length === n + 1)));
    }
    const late = followSse(service.url, task.taskId, null, client.headers);
    await late.waitFor(({ events }) => events.length === 11);
    const { count, sum } = await measured();
    expect(count).toBe(10);
    expect(sum / count).toBeLessThan(1);
    for (const reader of [...readers, late]) reader.close();
    await service.stop();
    await database.drop();
  }, 60_000);
});

describe('A channel', () => {
  const event = (id: number) => new StoredEvent('t', id, 'TASK_PROGRESS', '2026-11-21T12:00:10.123Z', '{}');
  const channel = () => new Channel('t', { query: () => Promise.reject(new Error('nothing is read')) });

  it('tells of a hole in front of a live event', () => {
    const followed = channel();
    followed.advanceTo(4);
    const receipts = [5, 7, 6, 7, 8].map((id) => followed.receive(event(id)));
    expect(receipts).toEqual(['next', 'after a hole', 'repeated', 'repeated', 'next']);
  });

  it('tells of none while it does not know where the log stands', () => {
    const followed = channel();
    expect(followed.receive(event(7))).toBe('next');
    followed.advanceTo(6);
    expect(followed.receive(event(9))).toBe('after a hole');
  });
});
