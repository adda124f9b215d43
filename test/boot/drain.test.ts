import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants, connected } from '../support/fold.js';
import { followSse, followWebSocket, type Reader } from '../support/follow.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { PostgresProxy } from '../support/postgres-proxy.js';
import { exchange } from '../support/raw-http.js';
import { eventually, runToExit, type Service, startService, temporaryDirectory } from '../support/service.js';
import { WITH_WORKERS } from '../support/worker-client.js';

const OF_EACH_KIND = 100;
const GRACE_SECONDS = 20;

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(() => database.drop());

describe('A drain', () => {
  let service: Service;
  let client: Client;

  beforeAll(async () => {
    const env = {
      DATABASE_URL: database.appUrl,
      DATA_DIR: await temporaryDirectory(),
      DRAIN_DELAY_SECONDS: '1',
      SHUTDOWN_GRACE_SECONDS: String(GRACE_SECONDS),
      STREAMS_PER_PRINCIPAL: '0',
      ...WITH_WORKERS,
    };
    service = await startService(env, { lifetime: 'file' });
    client = newPrincipal(service.url);
  });

  const storedRequests = async (): Promise<ReadonlySet<string>> =>
    connected(database.superuserUrl, async (db) => {
      const { rows } = await db.query<{ id: string }>('SELECT client_request_id AS id FROM taskbridge.proj_tasks');
      return new Set(rows.map(({ id }) => id));
    });

  it('with streams, polls, creates and uploads in flight breaks none of them', async () => {
    const running = (
      await client.create({ clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 600_000 } })
    ).body.taskId;
    await eventually('it runs', async () => (await client.snapshot(running)).body.status === 'RUNNING');
    const follow = (by: typeof followSse) =>
      Array.from({ length: OF_EACH_KIND }, () => by(service.url, running, null, client.headers));
    const [sockets, streams] = [follow(followWebSocket), follow(followSse)];
    await Promise.all([...sockets, ...streams].map((reader) => reader.waitFor(({ events }) => events.length === 1)));
    const polls = Array.from({ length: OF_EACH_KIND }, () =>
      client.events(running, { afterEventId: '1', waitTimeoutMs: '60000' }),
    );
    const claim = fetch(`${service.url}/worker/v1/leases`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${WITH_WORKERS.WORKER_TOKENS}` },
      body: JSON.stringify({ workerId: 'w', taskTypes: ['nobody'], maxTasks: 1, waitTimeoutMs: 30_000 }),
    });

    // Each is stored and acknowledged, or refused with an error, or no server listens any more.
    const acknowledged: string[] = [];
    const outcomes = new Map<string, number>();
    const note = (outcome: string) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    const submit = async (send: (id: string) => Promise<Response>) => {
      const id = uniqueId();
      const response = await send(id);
      await response.arrayBuffer();
      note(String(response.status));
      if (response.status === 201) acknowledged.push(id);
      if (response.status === 503) expect(response.headers.get('retry-after')).not.toBeNull();
    };
    const refusedToConnect = (error: Error) => {
      const { code } = (error.cause ?? {}) as { code?: string };
      if (code === 'ECONNREFUSED') return note('no listener');
      // A connection that was kept for the next request is closed while that is on its way: every client sends it again.
      if (code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE') return note('kept connection closed');
      throw error;
    };
    let isStopped = false;
    const steadily = async (send: (id: string) => Promise<Response>) => {
      while (!isStopped) await submit(send).catch(refusedToConnect);
    };
    const json = (id: string) =>
      fetch(`${service.url}/api/v1/tasks`, {
        method: 'POST',
        headers: { ...client.headers, 'Content-Type': 'application/json' },
        body: JSON.stringify({ clientRequestId: id, taskType: 'demo.echo' }),
      });
    const upload = (id: string) => {
      const form = new FormData();
      form.set('clientRequestId', id);
      form.set('taskType', 'demo.attachments');
      form.append('attachment', new Blob(['x'.repeat(50_000)]), 'a.txt');
      return fetch(`${service.url}/api/v1/tasks`, { method: 'POST', headers: client.headers, body: form });
    };
    const senders = [
      ...Array.from({ length: 8 }, () => steadily(json)),
      ...Array.from({ length: 4 }, () => steadily(upload)),
    ];
    await eventually('some are stored', () => acknowledged.length > 20);

    const exited = service.exited.finally(() => {
      isStopped = true;
    });
    const signalledAt = performance.now();
    service.kill('SIGTERM');
    // First the word that it is not ready, while everything is served as before.
    const ready = async () => (await fetch(`${service.url}/ready`)).status;
    await eventually('it is not ready', async () => (await ready()) === 503);
    expect([...sockets, ...streams].filter(({ outcome }) => outcome !== undefined)).toEqual([]);
    // Answers ask clients not to keep their connections, so no request is on its way when the port closes.
    expect(await exchange(Number(new URL(service.url).port), 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n')).toMatchObject({
      status: 200,
      headers: { connection: 'close' },
    });
    const late = followSse(service.url, running, null, client.headers);
    await late.waitFor(({ events }) => events.length === 1);
    service.kill('SIGTERM');
    service.kill('SIGINT');

    const ends = await Promise.all(
      sockets.map(async (reader) => ({ ...(await reader.end(30_000)), at: performance.now() })),
    );
    expect(new Set(ends.map(({ kind, code }) => `${kind} ${code}`))).toEqual(new Set(['close 1012']));
    const [first, last] = [Math.min(...ends.map(({ at }) => at)), Math.max(...ends.map(({ at }) => at))];
    // The delay was kept, and they were not all sent away in one moment.
    expect(first - signalledAt).toBeGreaterThan(950);
    expect(last - first).toBeGreaterThan(500);
    const sse = [...streams, late];
    expect(new Set(await Promise.all(sse.map(async (reader) => (await reader.end(30_000)).kind)))).toEqual(
      new Set(['end']),
    );
    const retries = sse.map((reader: Reader) => /^retry: ?(\d+)$/m.exec(reader.frames.slice(-1).join())?.[1]);
    expect(retries).not.toContain(undefined);
    expect(new Set(retries).size).toBeGreaterThan(OF_EACH_KIND / 4);
    for (const { status, body } of await Promise.all(polls)) {
      expect([status, body.events, body.terminal]).toEqual([200, [], false]);
    }
    const claimed = await claim;
    expect([claimed.status, await claimed.json()]).toEqual([200, { leases: [] }]);

    expect(await exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - signalledAt).toBeLessThan(GRACE_SECONDS * 1000);
    await Promise.all(senders);
    expect([...outcomes.keys()].filter((outcome) => /^[245]/.test(outcome) && !/^(201|503)$/.test(outcome))).toEqual(
      [],
    );
    const stored = await storedRequests();
    expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
    // What ran was handed back, at no expense of an attempt.
    await connected(database.superuserUrl, async (db) => {
      const sql = `SELECT lease_token, spent_attempts, claimable_at IS NOT NULL AS waits FROM taskbridge.proj_tasks
        WHERE task_id = $1`;
      expect((await db.query(sql, [running])).rows).toEqual([{ lease_token: null, spent_attempts: 0, waits: true }]);
    });
    await checkInvariants(database.superuserUrl, { quiescent: false });
  }, 120_000);
});

describe('SIGTERM during the start', () => {
  /** Starts a service and signals it after this time, or at this line. */
  const signalled = async (env: Record<string, string>, when: RegExp | number) =>
    runToExit(env, 20_000, (child, output) => {
      if (typeof when === 'number') return void delay(when).then(() => child.kill('SIGTERM'));
      const timer = setInterval(() => {
        if (!when.test(output.stdout)) return;
        clearInterval(timer);
        child.kill('SIGTERM');
      }, 5);
    });

  it('ends it while PostgreSQL does not answer', async () => {
    const proxy = await PostgresProxy.start(database.appUrl);
    await proxy.refuse();
    const exit = await signalled({ DATABASE_URL: proxy.url }, /waiting_for_postgres/);
    expect([exit.code, exit.signal, exit.stderr, exit.listened]).toEqual([0, null, '', false]);
  });

  it('ends it in the middle of making its own PostgreSQL, which the next start has', async () => {
    const directory = await temporaryDirectory();
    const exit = await signalled({ DATA_DIR: directory }, 700);
    // Before the first line of the service runs the signal is Node's, which ends on it.
    expect([exit.code === 0 || exit.signal === 'SIGTERM', exit.stderr]).toEqual([true, '']);
    const service = await startService({ DATA_DIR: directory }, { deadlineMs: 40_000 });
    expect((await newPrincipal(service.url).list()).status).toBe(200);
    expect(await service.stop()).toEqual({ code: 0, signal: null });
  }, 60_000);

  it('ends it while it is wired', async () => {
    for (const ms of [500, 900]) {
      const exit = await signalled({ DATABASE_URL: database.appUrl }, ms);
      expect([exit.code === 0 || exit.signal === 'SIGTERM', exit.stderr]).toEqual([true, '']);
    }
  }, 60_000);
});
