import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Signal } from '#protocol/snapshots.js';
import type { WorkerGrant } from '../../src/execution/worker-grant.js';
import { WorkerSignals } from '../../src/execution/worker-signals.js';
import { InProcessLiveLog } from '../../src/live-log/in-process-live-log.js';
import { RedisLiveLog } from '../../src/live-log/redis-live-log.js';
import { CancelTask } from '../../src/tasks/cancel-task.js';
import { ClaimTasks } from '../../src/tasks/claim-tasks.js';
import { LiveLog } from '../../src/tasks/ports/live-log.js';
import { expectFieldErrors, newPrincipal, uniqueId } from '../support/client.js';
import { Lines } from '../support/lines.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { createReplica, OWNER, type Replica, waitingTask } from '../support/replica.js';
import { eventually, type Service, startService } from '../support/service.js';
import { WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

const ANY: WorkerGrant = { token: 'any' };
const LONG_MS = 30_000;
const ENV = { EXECUTOR: 'inline,worker', WORKER_TOKENS: WITH_WORKERS.WORKER_TOKENS };

let database: TestDatabase;
let redis: TestRedis;

beforeAll(async () => {
  [database, redis] = await Promise.all([createTestDatabase(), startRedis()]);
}, 300_000);
afterAll(async () => {
  await redis.stop();
  await database.drop();
});

async function leased(replica: Replica, workerId: string, taskType = uniqueId('type')): Promise<string> {
  const taskId = await waitingTask(replica.database, taskType);
  const [lease] = await replica.get(ClaimTasks).execute({ workerId, principalId: 'worker' }, [taskType], 1);
  expect(lease?.identity.taskId).toBe(taskId);
  return taskId;
}

const cancel = (replica: Replica, taskId: string) => replica.get(CancelTask).execute(OWNER, taskId, 'enough');
const signalOf = (taskId: string): Signal => ({ type: 'cancel', taskId, attempt: 1, cancelReason: 'enough' });

interface Asked {
  readonly workerId: string;
  readonly known?: readonly string[];
  readonly grant?: WorkerGrant;
}

function wait({ get }: Replica, { workerId, known = [], grant = ANY }: Asked, ms = LONG_MS, left?: AbortSignal) {
  const awaited = { workerId, grant, known: new Set(known) };
  return get(WorkerSignals).wait(awaited, ms, left ?? new AbortController().signal);
}

async function twoReplicas(liveLog: () => LiveLog): Promise<readonly [Replica, Replica]> {
  const start = async () => {
    const replica = await createReplica(database.appUrl, { liveLog: liveLog(), env: ENV });
    await replica.get(LiveLog).start();
    return replica;
  };
  return Promise.all([start(), start()]);
}

describe('A worker that waits at one replica', () => {
  let replicas: readonly [Replica, Replica];
  afterEach(() => Promise.all(replicas.map((replica) => replica.stop())));

  describe('with Redis', () => {
    beforeEach(async () => {
      replicas = await twoReplicas(() => new RedisLiveLog(redis.url, new Lines()));
    });

    it('learns at once of a cancellation at another one', async () => {
      const [a, b] = replicas;
      const workerId = uniqueId('worker');
      const taskId = await leased(a, workerId);
      const other = await leased(a, uniqueId('worker'));
      // No look but the first one and those after hints.
      const everySecond = globalThis.setInterval;
      globalThis.setInterval = ((...given: Parameters<typeof setInterval>) =>
        everySecond(given[0], LONG_MS * 10)) as typeof setInterval;
      try {
        const waiting = wait(b, { workerId });
        // The first look is over before the cancellation.
        expect(await wait(b, { workerId }, 0)).toEqual([]);
        await cancel(a, other);
        await cancel(a, taskId);
        expect(await waiting).toEqual([signalOf(taskId)]);
      } finally {
        globalThis.setInterval = everySecond;
      }
    });
  });

  describe('without Redis, or behind a lost hint', () => {
    beforeEach(async () => {
      replicas = await twoReplicas(() => new InProcessLiveLog());
    });

    it('learns of a cancellation at another one by the query', async () => {
      const [a, b] = replicas;
      const workerId = uniqueId('worker');
      const taskId = await leased(a, workerId);
      const waiting = wait(b, { workerId });
      expect(await wait(b, { workerId }, 0)).toEqual([]);
      await cancel(a, taskId);
      expect(await waiting).toEqual([signalOf(taskId)]);
    });

    it('gets all of its cancelled leases at once, also those of before, and no known one', async () => {
      const [a, b] = replicas;
      const workerId = uniqueId('worker');
      const ids = [];
      for (let i = 0; i < 3; i++) ids.push(await leased(a, workerId));
      for (const taskId of ids) await cancel(a, taskId);
      const sorted = [...ids].sort();
      expect(await wait(b, { workerId })).toEqual(sorted.map(signalOf));
      expect(await wait(b, { workerId, known: sorted.slice(1) })).toEqual([signalOf(sorted[0] ?? '')]);
      expect(await wait(b, { workerId, known: sorted }, 0)).toEqual([]);
      expect(await wait(b, { workerId: `${workerId}x` }, 0)).toEqual([]);
    });

    it('gets those alone that its token covers', async () => {
      const [a] = replicas;
      const workerId = uniqueId('worker');
      const taskType = uniqueId('type');
      const taskId = await leased(a, workerId, taskType);
      await cancel(a, taskId);
      expect(await wait(a, { workerId, grant: { ...ANY, types: ['other'] } }, 0)).toEqual([]);
      expect(await wait(a, { workerId, grant: { ...ANY, tenants: ['acme'] } }, 0)).toEqual([]);
      expect(await wait(a, { workerId, grant: { ...ANY, types: [taskType], tenants: [''] } }, 0)).toEqual([
        signalOf(taskId),
      ]);
    });

    it('gets nothing of a lease that is over', async () => {
      const [a] = replicas;
      const workerId = uniqueId('worker');
      const taskId = await leased(a, workerId);
      await cancel(a, taskId);
      const superuser = { text: 'UPDATE taskbridge.proj_tasks SET lease_token = NULL', name: 'end' };
      await a.database.query({ ...superuser, text: `${superuser.text} WHERE task_id = $1` }, [taskId]);
      expect(await wait(a, { workerId }, 0)).toEqual([]);
    });

    it('is answered with nothing when it hangs up, and waits no more', async () => {
      const [a] = replicas;
      const left = new AbortController();
      const waiting = wait(a, { workerId: uniqueId() }, LONG_MS, left.signal);
      left.abort();
      expect(await waiting).toEqual([]);
    });

    it('costs two queries together with a thousand others', async () => {
      const [a] = replicas;
      const workerId = uniqueId('worker');
      const taskId = await leased(a, workerId);
      await cancel(a, taskId);
      const query = a.database.query.bind(a.database);
      const asked: string[] = [];
      a.database.query = ((statement: { name: string }, values: unknown[]) => {
        asked.push(statement.name);
        return query(statement as never, values);
      }) as never;
      const others = Array.from({ length: 1_000 }, (_, n) => wait(a, { workerId: `${workerId}/${n}` }, 0));
      expect(await Promise.all([...others, wait(a, { workerId })])).toEqual([
        ...others.map(() => []),
        [signalOf(taskId)],
      ]);
      expect(asked.length).toBeLessThanOrEqual(2);
    });
  });
});

describe('Over HTTP', () => {
  let service: Service;
  const start = (lifetime: 'file' | 'test') =>
    startService({ DATABASE_URL: database.appUrl, REDIS_URL: redis.url, ...WITH_WORKERS }, { lifetime });

  beforeAll(async () => {
    service = await start('file');
  });
  afterAll(() => service.stop());

  /** A worker that holds a task, and waits for signals at another replica. */
  async function waiting() {
    const other = await start('test');
    const client = newPrincipal(service.url);
    const taskType = uniqueId('type');
    const { taskId } = (await client.create({ clientRequestId: uniqueId(), taskType })).body;
    const worker = new WorkerClient(service.url);
    const lease = await worker.lease(taskType);
    const answer = new WorkerClient(other.url, worker.workerId).signals([], LONG_MS).catch(() => 'cut' as const);
    await eventually('the call waits', async () =>
      (await (await fetch(`${other.url}/metrics`)).text()).includes('taskbridge_worker_signals_waiting 1'),
    );
    return { other, client, taskId, worker, lease, answer };
  }

  it('a replica that is killed costs its workers one call', async () => {
    const { other, client, taskId, worker, lease, answer } = await waiting();
    other.kill('SIGKILL');
    expect(await answer).toBe('cut');
    await other.exited;
    await client.cancel(taskId, { reason: 'enough' });
    expect((await worker.signals([], LONG_MS)).body).toEqual({ signals: [signalOf(taskId)] });
    expect((await worker.cancelled(lease)).status).toBe(200);
    expect((await worker.signals()).body).toEqual({ signals: [] });
  });

  it('a replica that drains answers early, with nothing', async () => {
    const { other, answer } = await waiting();
    other.kill('SIGTERM');
    expect(await answer).toMatchObject({ status: 200, body: { signals: [] } });
    expect((await other.exited).code).toBe(0);
  });

  it.each<[string, object, string]>([
    ['no worker', { workerId: undefined }, 'workerId'],
    ['a worker with a space in its name', { workerId: 'named worker' }, 'workerId'],
    ['what is known as a text', { known: 'all' }, 'known'],
    ['a known task that is none', { known: ['x'] }, 'known'],
    ['a huge list', { known: Array.from({ length: 501 }, () => '01890000-0000-7000-8000-000000000000') }, 'known'],
    ['a wait that is too long', { waitTimeoutMs: 30_001 }, 'waitTimeoutMs'],
    ['a member that nobody knows', { leases: [] }, 'leases'],
  ])('a call with %s is refused', async (_what, more, path) => {
    const body = { workerId: 'w', waitTimeoutMs: 0, ...more };
    const errors = expectFieldErrors(await new WorkerClient(service.url).post('signals', body));
    expect(errors.map((error) => error.path)).toContain(path);
  });
});
