import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { WebSocket } from 'ws';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { storedEnvelopes } from '../support/fold.js';
import { followWebSocket } from '../support/follow.js';
import { type Closed, MultiplexClient, SUBPROTOCOL } from '../support/multiplex-client.js';
import { createTestDatabase } from '../support/postgres.js';
import { exchange } from '../support/raw-http.js';
import { RemoteTask } from '../support/remote-task.js';
import { eventually, type Service, startService } from '../support/service.js';
import { WITH_WORKERS } from '../support/worker-client.js';

const CLIENTS = 100;

/** Follows one task by either protocol over any number of connections, and keeps only its cursor and the faults. */
class Follower {
  last: number;
  readonly wrong: string[] = [];
  readonly closed: Closed[] = [];
  socket: WebSocket | undefined;

  constructor(
    private readonly url: string,
    private readonly headers: Record<string, string>,
    private readonly taskId: string,
    readonly protocols: string[],
    cursor: number,
    /** The log as far as it is known. */
    private readonly log: () => readonly string[],
  ) {
    this.last = cursor;
  }

  /** With `reads: false` it subscribes, and takes nothing of what comes. */
  async connect({ reads }: { reads: boolean }): Promise<void> {
    const { headers, protocols } = this;
    const address = `${this.url.replace('http', 'ws')}/api/v1/tasks/ws`;
    const socket = new WebSocket(address, protocols, { headers, perMessageDeflate: false });
    this.socket = socket;
    socket.on('message', (data: Buffer) => this.receive(data.toString('utf8')));
    socket.on('close', (code, reason) => this.closed.push({ code, reason: reason.toString() }));
    socket.on('error', () => {});
    await once(socket, 'open');
    if (!reads) socket.pause();
    socket.send(JSON.stringify({ action: 'subscribe', taskId: this.taskId, lastEventId: String(this.last) }));
  }

  private receive(raw: string): void {
    const id = /^\{"type":"TASK_[A-Z_]+","taskId":"[^"]+","eventId":"(\d+)"/.exec(raw)?.[1];
    if (id === undefined) return;
    if (Number(id) !== this.last + 1) this.wrong.push(`${id} after ${this.last}`);
    const stored = this.log()[Number(id) - 1];
    if (stored !== undefined && raw !== stored) this.wrong.push(`other bytes of ${id}`);
    this.last = Number(id);
  }
}

describe('A client that does not read', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let service: Service;
  let client: Client;
  /** Begun first and looked at last, because they take half a minute. */
  let mute: { readonly single: Promise<Closed>; readonly multiplexed: Promise<Closed>; readonly since: number };
  let silent: Promise<Closed>;
  let halfARequest: Promise<{ readonly status: number; readonly afterMs: number }>;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = {
      DATABASE_URL: database.appUrl,
      STREAM_MAX_BUFFERED_BYTES: '131072',
      STREAMS_PER_PRINCIPAL: '0',
      ...WITH_WORKERS,
    };
    service = await startService(env, { lifetime: 'file' });
    client = newPrincipal(service.url);
    const askedAt = performance.now();
    halfARequest = exchange(Number(new URL(service.url).port), 'GET /health HTTP/1.1\r\nHost: a\r\n').then(
      ({ status }) => ({ status, afterMs: performance.now() - askedAt }),
    );
    const connection = await MultiplexClient.open(service.url, client.headers, { autoPong: false });
    const socket = new WebSocket(`${service.url.replace('http', 'ws')}/api/v1/tasks/ws`, {
      headers: client.headers,
      autoPong: false,
    });
    const single = once(socket, 'close').then(([code, reason]) => ({ code, reason: String(reason) }) as Closed);
    await once(socket, 'open');
    const body = { clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 600_000 } };
    const { taskId } = (await client.create(body)).body;
    socket.send(JSON.stringify({ action: 'subscribe', taskId }));
    connection.subscribe(taskId);
    mute = { single, multiplexed: connection.close(60_000), since: Date.now() };
    silent = (await MultiplexClient.open(service.url, client.headers)).close(30_000);
  }, 60_000);

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  const metric = async (pattern: RegExp): Promise<number> => {
    const text = await (await fetch(`${service.url}/metrics`)).text();
    const lines = text.split('\n').filter((line) => pattern.test(line));
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  };
  const closesSoFar = () => metric(/^taskbridge_slow_consumer_closes_total\{/);
  const residentBytes = () => metric(/^process_resident_memory_bytes /);

  const append = async (task: RemoteTask, events: number, bytes = 16_000): Promise<void> => {
    // A batch has at most 256 KiB.
    const atOnce = Math.floor(240_000 / bytes);
    for (let left = events; left > 0; left -= atOnce) {
      const batch = Array.from({ length: Math.min(atOnce, left) }, (_, n) => ({
        type: 'TASK_PROGRESS',
        payload: { progress: n, message: uniqueId().padEnd(bytes, '.') },
      }));
      await task.append(...batch);
    }
  };

  it(`costs a bounded piece of memory, is closed with 4013, and resumes without a hole: ${CLIENTS} at a time`, async () => {
    const task = await RemoteTask.begin(client);
    await append(task, 200);
    let log = await storedEnvelopes(database.superuserUrl, task.taskId);
    const follower = (n: number, cursor: number) => {
      const protocols = n % 2 === 0 ? [SUBPROTOCOL] : [];
      return new Follower(service.url, client.headers, task.taskId, protocols, cursor, () => log);
    };
    // What the same costs for clients that do read.
    const readers = Array.from({ length: CLIENTS / 5 }, (_, n) => follower(n, n));
    for (const reader of readers) await reader.connect({ reads: true });
    await eventually('all of them have read it', () => readers.every(({ last }) => last === log.length), 30_000);
    for (const { socket } of readers) socket?.terminate();
    const before = await residentBytes();
    // Most are live, some have much to replay, each from a place of its own.
    const followers = Array.from({ length: CLIENTS }, (_, n) => follower(n, n % 5 === 0 ? n : 201));
    await Promise.all(followers.map((follower) => follower.connect({ reads: false })));
    let highest = 0;
    const appending = append(task, 100, 60_000);
    await eventually(
      'all of them are closed',
      async () => {
        highest = Math.max(highest, await residentBytes());
        return (await closesSoFar()) === CLIENTS;
      },
      40_000,
    );
    // What was closed is cut off when its client does not take notice for half a minute.
    for (const { socket } of followers) socket?.resume();
    await eventually('all of them know', () => followers.every(({ closed }) => closed.length === 1), 20_000);
    expect(followers.map(({ closed }) => closed[0])).toEqual(
      Array(CLIENTS).fill({ code: 4013, reason: 'SLOW_CONSUMER' }),
    );
    await appending;
    await task.complete();
    log = await storedEnvelopes(database.superuserUrl, task.taskId);
    expect(followers.every(({ last }) => last < log.length)).toBe(true);
    for (const follower of followers) await follower.connect({ reads: true });
    await eventually('all of them are at the end', () => followers.every(({ last }) => last === log.length), 30_000);
    expect(followers.flatMap(({ wrong }) => wrong)).toEqual([]);
    for (const { socket } of followers) socket?.terminate();
    const mebibytes = [before, highest].map((bytes) => Math.round(bytes / 1024 ** 2)).join(' MiB before, ');
    console.log(`${CLIENTS} clients that do not read, events up to 60 kB: ${mebibytes} MiB at most`);
    // Each may keep its cap and one more write, together 25 MiB. The whole log for each would be a gibibyte.
    expect(highest / before).toBeLessThan(1.75);
  }, 120_000);

  it('is fed again without a hole when it goes on reading in time, on one connection with several tasks', async () => {
    const tasks = await Promise.all(Array.from({ length: 4 }, () => RemoteTask.begin(client)));
    await Promise.all(tasks.map((task) => append(task, 150)));
    const connection = await MultiplexClient.open(service.url, client.headers);
    connection.socket.pause();
    for (const { taskId } of tasks) connection.subscribe(taskId);
    const sent = () => metric(/^taskbridge_events_delivered_total\{transport="websocket"\}/);
    let [seen, calm] = [-1, 0];
    await eventually('nothing more is sent', async () => {
      const now = await sent();
      calm = now === seen ? calm + 1 : 0;
      seen = now;
      return calm > 20;
    });
    connection.socket.resume();
    await Promise.all(tasks.map((task) => task.complete()));
    await connection.until(() => tasks.every(({ taskId }) => connection.ended(taskId)), 20_000);
    for (const { taskId } of tasks) {
      expect(connection.envelopes(taskId)).toEqual(await storedEnvelopes(database.superuserUrl, taskId));
    }
    connection.leave();
  }, 60_000);

  it('and goes on asking is closed with 4013, and not answered without end', async () => {
    // These are more answers than the sockets of both sides hold.
    const asked = 60_000;
    const { taskId } = (
      await client.create({ clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 600_000 } })
    ).body;
    const connection = await MultiplexClient.open(service.url, client.headers);
    connection.subscribe(taskId);
    await connection.until(() => connection.frames.some(({ type }) => type === 'CAUGHT_UP'));
    connection.socket.pause();
    const before = await closesSoFar();
    const frame = JSON.stringify({ action: 'unsubscribe', taskId: 'x'.repeat(255) });
    for (let n = 0; n < asked; n++) connection.send(frame);
    await eventually('the service has hung up', async () => (await closesSoFar()) > before, 30_000);
    connection.socket.resume();
    expect(await connection.close()).toEqual({ code: 4013, reason: 'SLOW_CONSUMER' });
    const errors = connection.frames.filter(({ type }) => type === 'ERROR');
    expect(errors.length).toBeLessThan(asked);
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(['NOT_SUBSCRIBED']));
  }, 60_000);

  it('without a frame is closed with 4408 when 10 s are over, with the subprotocol too', async () => {
    expect(await silent).toEqual({ code: 4408, reason: 'SUBSCRIBE_TIMEOUT' });
  }, 60_000);

  it('and sends no more than half a request is answered with 408 when 15 s are over', async () => {
    const { status, afterMs } = await halfARequest;
    expect([status, afterMs > 14_000, afterMs < 25_000]).toEqual([408, true, true]);
  }, 60_000);

  it('and answers no ping is cut off after half a minute, by either protocol', async () => {
    expect(await mute.multiplexed).toMatchObject({ code: 1006 });
    expect(await mute.single).toMatchObject({ code: 1006 });
    expect(Date.now() - mute.since).toBeGreaterThan(25_000);
    const reader = followWebSocket(service.url, 'nobody-knows-it', null, client.headers);
    expect(await reader.end()).toMatchObject({ code: 4404 });
  }, 60_000);
});
