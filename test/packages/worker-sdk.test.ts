import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, newPrincipal, uniqueId } from '../support/client.js';
import { faultyHttp, type Fault } from '../support/faulty-http.js';
import { checkInvariants, connected, storedEnvelopes } from '../support/fold.js';
import { followWebSocket } from '../support/follow.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { PostgresProxy } from '../support/postgres-proxy.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { startWorker, WORKER_ENV, type WorkerProcess } from '../support/worker.js';

/** Four alphabets and a flag, so that a cut is often within a character. */
const TEXT = 'The quick brown fox. 🦊🏴‍☠️ Příliš žluťoučký kůň. 素早い茶色の狐。 "\\\n\t'.repeat(60);

interface Event {
  readonly type: string;
  readonly createdAt: string;
  readonly eventId: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

let database: TestDatabase;
let service: Service;
let client: Client;
const workers: WorkerProcess[] = [];

const LEASE_SECONDS = 2;
const settings: Record<string, string> = { LEASE_SECONDS: String(LEASE_SECONDS), CANCEL_GRACE_SECONDS: '20' };

beforeAll(async () => {
  database = await createTestDatabase();
  settings['DATA_DIR'] = await temporaryDirectory();
  service = await startService({ DATABASE_URL: database.appUrl, ...WORKER_ENV, ...settings }, { lifetime: 'file' });
  client = newPrincipal(service.url);
});

afterEach(async () => {
  for (const worker of workers) worker.kill('SIGKILL');
  await Promise.all(workers.splice(0).map(({ exited }) => exited));
  await checkInvariants(database.superuserUrl);
});

afterAll(async () => {
  await service.stop();
  await database.drop();
});

function work(options: Readonly<Record<string, unknown>> = {}): WorkerProcess {
  const worker = startWorker({ url: service.url, ...options });
  workers.push(worker);
  return worker;
}

async function kill(worker: WorkerProcess): Promise<void> {
  worker.kill('SIGKILL');
  await worker.exited;
}

async function created(taskType: string, input: object = {}, by = client): Promise<string> {
  const body = { clientRequestId: uniqueId(), taskType, input: { ...input }, metadata: { for: 'the handler' } };
  const { status, body: task } = await by.create(body);
  expect(status).toBe(201);
  return task.taskId;
}

const logOf = async (taskId: string): Promise<Event[]> =>
  (await storedEnvelopes(database.superuserUrl, taskId)).map((raw) => JSON.parse(raw) as Event);

async function ended(taskId: string, by = client, deadlineMs = 20_000): Promise<Event[]> {
  await followWebSocket(by.url, taskId, null, by.headers).end(deadlineMs);
  return logOf(taskId);
}

const seen = (taskId: string, type: string, count = 1) =>
  eventually(`${count} ${type}`, async () => {
    const found = (await logOf(taskId)).filter((event) => event.type === type);
    return found.length >= count && found;
  });

async function answer(taskId: string, suspendId: string, actionType: string, payload = {}, by = client): Promise<void> {
  await eventually('the question is open', async () => {
    const action = { clientActionId: uniqueId(), suspendId, actionType, payload };
    return (await by.post(`/api/v1/tasks/${taskId}/actions`, action)).status === 202;
  });
}

/** What a client that obeys TASK_RETRYING has in the end. */
function outputOf(events: readonly Event[], channel = 'text'): string {
  const void_ = events.filter(({ type }) => type === 'TASK_RETRYING').at(-1)?.payload['supersedesAfterEventId'] ?? '0';
  const valid = events.filter(({ type, eventId }) => type === 'TASK_OUTPUT' && Number(eventId) > Number(void_));
  const attempt = valid.at(-1)?.payload['attempt'];
  return valid
    .filter(({ payload }) => payload['channel'] === channel && payload['attempt'] === attempt)
    .map(({ payload }) => payload['data'])
    .join('');
}

const types = (events: readonly Event[]) => events.map(({ type }) => type);

describe('A stream of tokens', () => {
  it('of 1 000 appends a second is stored in at most 25 events a second, and every character once', async () => {
    work();
    const taskId = await created('both.stream', { count: 3_000, seconds: 3, text: TEXT });
    const events = await ended(taskId);
    expect(outputOf(events)).toBe(TEXT);
    const output = events.filter(({ type }) => type === 'TASK_OUTPUT');
    const bySecond = Map.groupBy(output, ({ createdAt }) => createdAt.slice(0, 19));
    expect([...bySecond.values()].filter(({ length }) => length > 25)).toEqual([]);
    expect(output.length).toBeGreaterThan(20);
  });

  it('is whole where it was cut within a character, whatever came in between', async () => {
    work();
    const events = await ended(await created('both.halves'));
    expect([outputOf(events), outputOf(events, 'other')]).toEqual(['a 🦊 fox', 'b 🦊 vixen']);
  });

  it('is begun anew by the next attempt when the worker is killed in the middle', async () => {
    const first = work();
    const taskId = await created('both.stream', { count: 1_000, seconds: 1, text: TEXT });
    await seen(taskId, 'TASK_OUTPUT', 5);
    await kill(first);
    work();
    const events = await ended(taskId);
    const retry = events.find(({ type }) => type === 'TASK_RETRYING');
    expect(retry?.payload).toEqual({
      attempt: 2,
      reason: 'lease_expired',
      supersedesAfterEventId: '1',
      notBefore: expect.any(String),
    });
    expect(outputOf(events)).toBe(TEXT);
    expect(events.at(-1)).toMatchObject({ type: 'TASK_COMPLETED', payload: { result: { length: TEXT.length } } });
  });

  it('is whole when the network loses requests and answers, and others answer in between', async () => {
    const kinds: readonly Fault[] = ['lose', 'lose_answer', '503', 'lose_answer', '429', '502'];
    const happened = new Set<Fault>();
    let requests = 0;
    const network = await faultyHttp(service.url, () => {
      requests += 1;
      const fault = requests % 3 === 0 ? (kinds[(requests / 3) % kinds.length] ?? 'pass') : 'pass';
      happened.add(fault);
      return fault;
    });
    try {
      work({ url: network.url });
      const ids = await Promise.all(
        Array.from({ length: 8 }, () => created('both.stream', { count: 1_000, seconds: 2, text: TEXT })),
      );
      for (const taskId of ids) {
        const events = await ended(taskId, client, 30_000);
        expect(outputOf(events)).toBe(TEXT);
        expect(events.at(-1)?.type).toBe('TASK_COMPLETED');
      }
      expect(happened).toEqual(new Set(['pass', ...kinds]));
    } finally {
      await network.close();
    }
  }, 60_000);

  it('goes on within its attempt when the service is killed and started again', async () => {
    const port = new URL(service.url).port;
    const patient = { DATABASE_URL: database.appUrl, ...WORKER_ENV, ...settings, LEASE_SECONDS: '20', PORT: port };
    await service.stop();
    service = await startService(patient, { lifetime: 'file' });
    const worker = work();
    const taskId = await created('both.stream', { count: 3_000, seconds: 3, text: TEXT });
    await seen(taskId, 'TASK_OUTPUT', 10);
    service.kill('SIGKILL');
    await service.exited;
    service = await startService({ ...patient, LEASE_SECONDS: String(LEASE_SECONDS) }, { lifetime: 'file' });
    const events = await ended(taskId);
    expect(outputOf(events)).toBe(TEXT);
    expect(types(events)).not.toContain('TASK_RETRYING');
    expect(worker.stdout()).toContain('problem claim_failed');
    const next = await ended(await created('both.nothing'));
    expect(next.at(-1)?.type).toBe('TASK_COMPLETED');
  }, 60_000);
});

describe('A worker', () => {
  it('that is killed between question and answer is not missed', async () => {
    const first = work();
    const taskId = await created('both.ask');
    await seen(taskId, 'TASK_SUSPENDED');
    await kill(first);
    await answer(taskId, '1', 'yes', { n: 1 });
    const second = work();
    await seen(taskId, 'TASK_SUSPENDED', 2);
    await kill(second);
    work();
    await answer(taskId, 'second', 'name', { name: 'Ada' });
    const events = await ended(taskId);
    expect(types(events)).not.toContain('TASK_RETRYING');
    expect(events.at(-1)?.payload['result']).toEqual({ first: { n: 1 }, second: { name: 'Ada' }, actors: true });
  });

  it('learns of a cancellation while it streams, from the answer to a batch', async () => {
    work();
    const taskId = await created('both.stream', { count: 60_000, seconds: 60, text: TEXT.repeat(10) });
    await seen(taskId, 'TASK_OUTPUT', 5);
    await client.cancel(taskId);
    const askedAt = Date.now();
    const events = await ended(taskId);
    expect(events.at(-1)).toMatchObject({ type: 'TASK_CANCELLED', payload: { reason: 'cancelled_by_user' } });
    expect(Date.now() - askedAt).toBeLessThan(1_000);
  });

  it('keeps a lease alive by heartbeats as long as its handler is silent', async () => {
    work();
    const taskId = await created('both.sleep', { ms: 2_500 * LEASE_SECONDS });
    expect(types(await ended(taskId))).toEqual(['TASK_STARTED', 'TASK_MESSAGE', 'TASK_COMPLETED']);
  });

  describe('where the service has the additions', () => {
    /** Counts the calls of a worker by the last part of their path. A replica of another release refuses those that `refuses` names. */
    async function counted(refuses: Readonly<Record<string, Fault>> = {}) {
      const calls: Record<string, number> = {};
      const network = await faultyHttp(service.url, (path) => {
        const name = path.split('/').at(-1) ?? '';
        calls[name] = (calls[name] ?? 0) + 1;
        return refuses[name] ?? 'pass';
      });
      return { calls, network };
    }

    it('extends all of its leases with one call', async () => {
      const { calls, network } = await counted();
      work({ url: network.url, concurrency: 5 });
      const input = { ms: 2_500 * LEASE_SECONDS };
      const ids = await Promise.all(Array.from({ length: 5 }, () => created('both.sleep', input)));
      for (const taskId of ids)
        expect(types(await ended(taskId))).toEqual(['TASK_STARTED', 'TASK_MESSAGE', 'TASK_COMPLETED']);
      await network.close();
      expect(calls['heartbeat']).toBeUndefined();
      // Each of five leases would need six or more by itself.
      expect(calls['heartbeats']).toBeGreaterThan(4);
      expect(calls['heartbeats']).toBeLessThan(20);
    });

    it('hears of a cancellation between two heartbeats', async () => {
      const { calls, network } = await counted();
      const worker = work({ url: network.url, leaseSeconds: 300 });
      const taskId = await created('both.sleep');
      await seen(taskId, 'TASK_MESSAGE');
      await client.cancel(taskId, { reason: 'enough' });
      const events = await ended(taskId);
      expect(events.at(-1)).toMatchObject({ type: 'TASK_CANCELLED', payload: { reason: 'enough' } });
      expect(worker.stdout()).toContain('stopped cancelled');
      await kill(worker);
      await network.close();
      expect([calls['heartbeat'], calls['heartbeats']]).toEqual([undefined, undefined]);
    });

    it('says which program it is, and what it knows', async () => {
      const worker = work({ version: '1.4.2', workerId: uniqueId('worker') });
      await ended(await created('both.nothing'));
      const row = await eventually('it is registered', () =>
        connected(database.superuserUrl, async (db) => {
          const sql = `SELECT version, features FROM taskbridge.proj_workers WHERE 'both.nothing' = ANY (task_types)
            AND version IS NOT NULL`;
          return (await db.query<object>(sql)).rows[0];
        }),
      );
      expect(row).toEqual({
        version: '1.4.2',
        features: ['heartbeats', 'leaseSeconds', 'policies', 'signals', 'steps'],
      });
      expect(worker.stderr()).toBe('');
    });

    it.each<Fault>(['404', '422'])(
      'and a replica refuses them with %s, goes on with the calls of before',
      async (fault) => {
        const { calls, network } = await counted({ heartbeats: fault, signals: fault });
        const worker = work({ url: network.url, concurrency: 2 });
        const slept = await created('both.sleep', { ms: 2_500 * LEASE_SECONDS });
        const cancelled = await created('both.sleep');
        await seen(cancelled, 'TASK_MESSAGE');
        await client.cancel(cancelled, { reason: 'enough' });
        expect((await ended(cancelled)).at(-1)?.type).toBe('TASK_CANCELLED');
        expect(types(await ended(slept))).toEqual(['TASK_STARTED', 'TASK_MESSAGE', 'TASK_COMPLETED']);
        expect(worker.stdout()).toContain('stopped cancelled');
        await kill(worker);
        await network.close();
        expect(Math.min(calls['heartbeat'] ?? 0, calls['signals'] ?? 0)).toBeGreaterThan(0);
      },
    );
  });

  it('takes as many tasks as it has free slots, and the next when one is free', async () => {
    const worker = work({ concurrency: 2 });
    const ids = await Promise.all(Array.from({ length: 4 }, () => created('both.sleep', { ms: 1_500 })));
    // One statement counts all. Several would count a task that ends between two of them with its successor.
    const leased = async () =>
      connected(database.superuserUrl, async (db) => {
        const sql = `SELECT count(*) FILTER (WHERE lease_token IS NOT NULL)::int AS now, count(*) FILTER (WHERE status = 'COMPLETED')::int
          AS over FROM taskbridge.proj_tasks WHERE task_id = ANY ($1::uuid[])`;
        return (await db.query<{ now: number; over: number }>(sql, [ids])).rows[0];
      });
    const lanes = new Set<number>();
    await eventually('all are over', async () => {
      const counted = await leased();
      lanes.add(counted?.now ?? 0);
      return counted?.over === ids.length;
    });
    expect(Math.max(...lanes)).toBe(2);
    expect(worker.stderr()).toBe('');
  });

  it('hands back what it holds on SIGTERM, for others to go on with at once, and exits by itself', async () => {
    const first = work();
    const ids = await Promise.all(Array.from({ length: 3 }, () => created('both.sleep', { ms: 1_000 })));
    for (const taskId of ids) await seen(taskId, 'TASK_MESSAGE');
    first.kill('SIGTERM');
    expect(await first.exited).toEqual({ code: 0, signal: null });
    expect(first.stdout()).toBe('began 1\n'.repeat(3) + 'stopped released\n'.repeat(3));
    work();
    for (const taskId of ids) {
      const events = await ended(taskId);
      const [, , retry, again] = events;
      expect(types(events)).toEqual([
        'TASK_STARTED',
        'TASK_MESSAGE',
        'TASK_RETRYING',
        'TASK_MESSAGE',
        'TASK_COMPLETED',
      ]);
      expect(retry?.payload).toEqual({
        attempt: 2,
        reason: 'released',
        supersedesAfterEventId: '1',
        notBefore: expect.any(String),
      });
      expect(Date.parse(again?.createdAt ?? '') - Date.parse(retry?.createdAt ?? '')).toBeLessThan(1_500);
    }
  });

  it('hands back on SIGTERM also what does not obey, and nothing of that is stored afterwards', async () => {
    const first = work({ drainTimeoutMs: 200 });
    const taskId = await created('both.stubborn', { ms: 2_000 });
    await seen(taskId, 'TASK_MESSAGE');
    first.kill('SIGTERM');
    const [retry] = await seen(taskId, 'TASK_RETRYING');
    expect(retry?.payload).toMatchObject({ reason: 'released' });
    // Its handler keeps the process for a while yet.
    expect(await first.exited).toEqual({ code: 0, signal: null });
    expect((await logOf(taskId)).at(-1)?.type).toBe('TASK_RETRYING');
    work();
    expect((await ended(taskId)).at(-1)?.payload).toEqual({ result: 'done anyway' });
  });

  it('that waits for work exits at once on SIGTERM', async () => {
    const worker = work();
    await ended(await created('both.nothing'));
    worker.kill('SIGTERM');
    const askedAt = Date.now();
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect(Date.now() - askedAt).toBeLessThan(1_000);
  });

  it('that stops while it is given a task takes no attempt from it', async () => {
    const proxy = await PostgresProxy.start(database.appUrl);
    const env = { DATABASE_URL: proxy.url, ...WORKER_ENV, ...settings, LEASE_SECONDS: '30' };
    const slow = await startService(env);
    // The claim is one statement, and finds the task when it is let go.
    const claim = proxy.hold(
      ({ sql, parameters }) => sql.includes('row_number() OVER') && parameters.includes('both.sleep'),
    );
    const worker = work({ url: slow.url });
    const taskId = await created('both.sleep');
    await claim.held;
    worker.kill('SIGTERM');
    await worker.exited;
    claim.release();
    expect((await seen(taskId, 'TASK_RETRYING'))[0]?.payload).toMatchObject({ attempt: 2, reason: 'released' });
    await slow.stop();
    await proxy.close();
    await client.cancel(taskId);
  });

  it('that slept through its lease stores nothing more, stops its handler, and goes on with other tasks', async () => {
    // This worker has no free slot, so it does not wait for the second attempt, too.
    const first = work({ concurrency: 1 });
    const taskId = await created('both.stream', { count: 5_000, seconds: 5, text: TEXT });
    await seen(taskId, 'TASK_OUTPUT', 3);
    first.kill('SIGSTOP');
    await seen(taskId, 'TASK_RETRYING');
    const second = work();
    await eventually('attempt 2 speaks', async () =>
      (await logOf(taskId)).some(({ type, payload }) => type === 'TASK_OUTPUT' && payload['attempt'] === 2),
    );
    first.kill('SIGCONT');
    const events = await ended(taskId);
    const retriedAt = events.findIndex(({ type }) => type === 'TASK_RETRYING');
    const afterwards = events.slice(retriedAt).filter(({ type }) => type === 'TASK_OUTPUT');
    expect(new Set(afterwards.map(({ payload }) => payload['attempt']))).toEqual(new Set([2]));
    expect(outputOf(events)).toBe(TEXT);
    await kill(second);
    expect((await ended(await created('both.nothing'))).at(-1)?.type).toBe('TASK_COMPLETED');
    expect(first.stdout()).toBe('');
  }, 60_000);

  it('that was stopped while it waited does not begin what it was given meanwhile and has lost', async () => {
    const worker = work();
    await ended(await created('both.nothing'));
    worker.kill('SIGSTOP');
    const taskId = await created('both.sleep', { ms: 100 });
    await seen(taskId, 'TASK_RETRYING');
    worker.kill('SIGCONT');
    expect(types(await ended(taskId))).toEqual(['TASK_STARTED', 'TASK_RETRYING', 'TASK_MESSAGE', 'TASK_COMPLETED']);
    expect(worker.stdout()).toBe('began 2\n');
  });

  it('that hears nothing any more stops its handlers when the lease is over by its own clock', async () => {
    let cut = false;
    const network = await faultyHttp(service.url, () => (cut ? 'lose' : 'pass'));
    const worker = work({ url: network.url });
    const taskId = await created('both.sleep');
    await seen(taskId, 'TASK_MESSAGE');
    cut = true;
    await eventually('the handler is stopped', () => worker.stdout().includes('stopped lease_lost'));
    await seen(taskId, 'TASK_RETRYING');
    cut = false;
    await seen(taskId, 'TASK_MESSAGE', 2);
    await network.close();
  });

  it('with a token that is not known says so once, and goes on asking', async () => {
    const worker = work({ token: 'an-unknown-token-of-32-characters-or-more' });
    const line = await eventually('a problem', () => worker.stdout().split('\n')[0] || undefined);
    expect(line).toBe('problem claim_failed  the service answered 401 AUTHENTICATION_ERROR');
    expect(worker.stderr()).toBe('');
  });

  it('hands the trace of the request on', async () => {
    work();
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const body = { clientRequestId: uniqueId(), taskType: 'both.trace' };
    const { taskId } = (await client.create(body, { traceparent })).body;
    await ended(taskId);
    const { result } = (await client.snapshot(taskId)).body;
    expect(result).toEqual({ traceparent: expect.stringContaining('-0af7651916cd43dd8448eb211c80319c-') });
  });
});
