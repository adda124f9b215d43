import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { type Action, type Answer, Client, type Envelope, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants, storedEnvelopes } from '../support/fold.js';
import { seededRandom } from '../support/follow.js';
import { createTestDatabase } from '../support/postgres.js';
import { type Matcher, PostgresProxy } from '../support/postgres-proxy.js';
import { eventually, type Service, startService } from '../support/service.js';
import { type Lease, output, WITH_WORKERS, WORKER_TOKEN, WorkerClient } from '../support/worker-client.js';

/** FULL=1 is the size that the guarantees speak of; without it the same in small. */
const full = process.env['FULL'] === '1';

let database: Awaited<ReturnType<typeof createTestDatabase>>;
/** Several are asked at a time. */
let superuser: pg.Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = new pg.Pool({ connectionString: database.superuserUrl, max: 4 });
  superuser.on('error', () => {});
});

afterAll(async () => {
  await superuser.end();
  await database.drop();
});

// I1 to I9, after every one.
afterEach(() => checkInvariants(database.superuserUrl));

const env = { ...WITH_WORKERS, LOG_LEVEL: 'warn' };
const started = (overrides: Record<string, string> = {}) =>
  // The line that says where it listens is at level info.
  startService({ DATABASE_URL: database.appUrl, ...env, LOG_LEVEL: 'info', ...overrides }, { lifetime: 'file' });

const created = async (by: Client, taskType: string, input = {}): Promise<string> => {
  const answer = await by.create({ clientRequestId: uniqueId('request'), taskType, input });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.body.taskId;
};

const logOf = async (taskId: string): Promise<Envelope[]> =>
  (await storedEnvelopes(database.superuserUrl, taskId)).map((raw) => JSON.parse(raw) as Envelope);
const typesOf = async (taskId: string) => (await logOf(taskId)).map(({ type }) => type);

/** How many of the tasks are not over. */
const openAmong = async (ids: readonly string[]): Promise<number> => {
  const sql = `SELECT count(*)::int AS open FROM taskbridge.proj_tasks
    WHERE task_id = ANY ($1::uuid[]) AND status IN ('ACCEPTED', 'RUNNING')`;
  return (await superuser.query<{ open: number }>(sql, [ids])).rows[0]?.open ?? 0;
};

/** Lets backoffs be over, so that a test does not wait for them. */
const skipBackoffs = () =>
  superuser.query('UPDATE taskbridge.proj_tasks SET claimable_at = now() WHERE claimable_at > now()');

/** The valid output of a task: output after a retry replaces the output before it. */
function foldedOutput(log: readonly Envelope[]): string {
  let pieces: { id: number; data: string }[] = [];
  for (const { type, eventId, payload } of log) {
    const id = Number(eventId);
    if (type === 'TASK_OUTPUT') pieces.push({ id, data: String(payload['data']) });
    if (payload['supersedesAfterEventId'] === undefined) continue;
    pieces = pieces.filter((piece) => piece.id <= Number(payload['supersedesAfterEventId']));
  }
  return pieces.map(({ data }) => data).join('');
}

interface Line {
  readonly name: string;
  readonly sentAt: number;
  readonly status: number;
  readonly body: { readonly code?: string };
}

/** A process that works off tasks of a type; see worker-process.js. */
class WorkerProcess {
  readonly lines: Line[] = [];
  readonly exited: Promise<unknown>;
  readonly #child: ChildProcess;

  constructor(options: { url: string; taskType: string; concurrency?: number; everyMs?: number; stubborn?: boolean }) {
    const script = fileURLToPath(new URL('../support/worker-process.js', import.meta.url));
    const child = spawn(process.execPath, [script, JSON.stringify({ token: WORKER_TOKEN, ...options })]);
    createInterface({ input: child.stdout }).on('line', (line) => this.lines.push(JSON.parse(line) as Line));
    this.exited = once(child, 'exit');
    this.#child = child;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.exited;
  }
}

describe('Two instances', () => {
  let services: Service[];

  beforeAll(async () => {
    services = await Promise.all([started(), started()]);
  });

  afterAll(() => Promise.all(services.map((service) => service.stop())));

  it('and many claimers never have two live leases on one task, and end each task once', async () => {
    const [claimers, count] = full ? [50, 500] : [10, 100];
    const owners = Array.from({ length: 7 }, (_, n) => newPrincipal(services[n % 2]?.url ?? ''));
    const taskType = uniqueId('type');
    const ids = await Promise.all(
      Array.from({ length: count }, (_, n) => created(owners[n % owners.length] as Client, taskType, { n })),
    );
    const ownerOf = new Map(ids.map((taskId, n) => [taskId, owners[n % owners.length] as Client]));
    const holders = new Map<string, string>();
    const doubles: string[] = [];
    const expected = new Map<string, string>();
    let leases = 0;

    /** Some of each: most tasks are handed on a few times before they end. */
    const workOn = async (worker: WorkerClient, lease: Lease, random: () => number) => {
      const { taskId, leaseToken } = lease;
      if (holders.has(taskId)) doubles.push(`${taskId}: ${holders.get(taskId)} and ${leaseToken}`);
      holders.set(taskId, leaseToken);
      leases += 1;
      const data = `[${leaseToken}]`;
      const appended = await worker.events(lease, 1, [output(data)]);
      if (appended.status !== 200) doubles.push(`${taskId}: ${appended.text}`);
      if (random() < 0.3) await worker.heartbeat(lease);
      const choice = random();
      // From here on somebody else may hold it, before this worker has the answer.
      holders.delete(taskId);
      if (choice < 0.15) return worker.fail(lease, { retryable: true, retryAfterMs: 0 });
      if (choice < 0.3) return worker.release(lease);
      if (choice < 0.4 && lease.answers.length < 3) {
        const { suspendId } = (await worker.suspend(lease)).body;
        const action = { clientActionId: uniqueId(), suspendId, actionType: 'approve' };
        return ownerOf.get(taskId)?.act(taskId, action);
      }
      expected.set(taskId, data);
      return worker.complete(lease, leaseToken);
    };
    const claimer = async (n: number) => {
      const random = seededRandom(n + 1);
      const worker = new WorkerClient(services[n % 2]?.url ?? '');
      while ((await openAmong(ids)) > 0) {
        const maxTasks = 1 + Math.floor(random() * 3);
        const claim = await worker.claim({ taskTypes: [taskType], maxTasks, waitTimeoutMs: 500 });
        expect(claim.status).toBe(200);
        const answers = await Promise.all(claim.body.leases.map((lease) => workOn(worker, lease, random)));
        for (const answer of answers) expect([200, 202, 204]).toContain(answer?.status);
      }
    };
    const since = performance.now();
    await Promise.all(Array.from({ length: claimers }, (_, n) => claimer(n)));
    const seconds = (performance.now() - since) / 1000;

    expect(doubles).toEqual([]);
    const tokens: Envelope[] = [];
    for (const taskId of ids) {
      const log = await logOf(taskId);
      const ends = log.filter(({ type }) => ['TASK_COMPLETED', 'TASK_FAILED', 'TASK_CANCELLED'].includes(type));
      expect(ends).toHaveLength(1);
      if (ends[0]?.type === 'TASK_COMPLETED') expect(foldedOutput(log)).toMatch(/^(\[[^\]]+\])+$/);
      tokens.push(...log.filter(({ type }) => type === 'TASK_OUTPUT'));
    }
    expect(new Set(tokens.map(({ payload }) => payload['data'])).size).toBe(leases);
    expect(tokens).toHaveLength(leases);
    console.log(`${count} tasks, ${leases} leases, ${claimers} claimers: ${seconds.toFixed(1)} s`);
    await checkInvariants(database.superuserUrl, { quiescent: true });
  }, 300_000);

  it('share the line: a claim at one gets the task that the other accepts', async () => {
    const [here, there] = services.map(({ url }) => url) as [string, string];
    const taskType = uniqueId('type');
    const waiting = new WorkerClient(there).lease(taskType);
    await new WorkerClient(there).claim({ taskTypes: [taskType] });
    const taskId = await created(newPrincipal(here), taskType);
    const since = performance.now();
    expect((await waiting).taskId).toBe(taskId);
    expect(performance.now() - since).toBeLessThan(2_000);
  });
});

describe('A worker that is stopped past its lease', () => {
  it('is refused everything when it goes on, and nothing of it is stored', async () => {
    const service = await started({ LEASE_SECONDS: '1' });
    const client = newPrincipal(service.url);
    const taskType = uniqueId('type');
    const taskId = await created(client, taskType);
    const first = new WorkerProcess({ url: service.url, taskType, everyMs: 20, stubborn: true });
    await eventually('it puts something out', () => first.lines.length >= 3);
    first.signal('SIGSTOP');
    await eventually('its lease is lost', async () => (await typesOf(taskId)).at(-1) === 'TASK_RETRYING');
    await skipBackoffs();
    const worker = new WorkerClient(service.url);
    const second = await worker.lease(taskType);
    expect(second).toMatchObject({ taskId, attempt: 2 });
    await worker.events(second, 1, [output('second')]);
    const beats = setInterval(() => void worker.heartbeat(second), 150);
    const before = await logOf(taskId);
    const resumedAt = Date.now();
    first.signal('SIGCONT');
    await first.exited;
    clearInterval(beats);
    expect(await logOf(taskId)).toEqual(before);
    const after = first.lines.filter(({ sentAt }) => sentAt >= resumedAt);
    expect(after.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['events', 'heartbeat', 'suspend', 'fail', 'cancelled', 'release', 'complete']),
    );
    for (const line of after) expect([line.name, line.status, line.body.code]).toEqual([line.name, 409, 'LEASE_LOST']);
    expect((await worker.complete(second)).status).toBe(200);
    const log = await logOf(taskId);
    expect(foldedOutput(log)).toBe('second');
    expect(log.at(-1)?.type).toBe('TASK_COMPLETED');
    await service.stop();
  }, 60_000);
});

describe('A worker that ignores a cancellation', () => {
  it('is fenced when the grace period is over, and what it sends then is not stored', async () => {
    const service = await started({ CANCEL_GRACE_SECONDS: '1' });
    const client = newPrincipal(service.url);
    const taskType = uniqueId('type');
    const taskId = await created(client, taskType);
    const deaf = new WorkerProcess({ url: service.url, taskType, everyMs: 20, stubborn: true });
    await eventually('it puts something out', () => deaf.lines.length >= 3);
    await client.cancel(taskId, { reason: 'enough' });
    const requested = (await client.snapshot(taskId)).body;
    expect([requested.status, requested.cancellationRequested]).toEqual(['RUNNING', true]);
    await deaf.exited;
    const log = await logOf(taskId);
    expect(log.at(-1)).toMatchObject({
      type: 'TASK_CANCELLED',
      payload: { reason: 'enough', message: 'CANCEL_FORCED' },
    });
    const took = Date.parse(log.at(-1)?.createdAt ?? '') - Date.parse(requested.updatedAt);
    expect(took).toBeGreaterThan(800);
    expect(took).toBeLessThan(5_000);
    // It worked all the time, and every answer asked it to stop, until it was refused.
    const refused = deaf.lines.findIndex(({ status }) => status === 409);
    const told = deaf.lines.slice(0, refused).at(-1)?.body;
    expect(told).toMatchObject({ cancellationRequested: true });
    for (const { status, body } of deaf.lines.slice(refused)) expect([status, body.code]).toEqual([409, 'LEASE_LOST']);
    await service.stop();
  }, 60_000);
});

describe('Workers that are killed at random events', () => {
  it('leave tasks that all end, with output that a retry supersedes and nothing doubled', async () => {
    const [processes, count, pieces, kills] = full ? [6, 80, 60, 60] : [3, 12, 25, 8];
    const service = await started({ LEASE_SECONDS: '1', TASK_MAX_ATTEMPTS: '1000' });
    const client = newPrincipal(service.url);
    const taskType = uniqueId('type');
    const random = seededRandom(42);
    const input = { pieces: Array.from({ length: pieces }, (_, n) => `${n}-${Math.floor(random() * 1e6)};`) };
    const ids = await Promise.all(Array.from({ length: count }, () => created(client, taskType, input)));
    const spawned = () => new WorkerProcess({ url: service.url, taskType, concurrency: 3, everyMs: 5 });
    const workers = Array.from({ length: processes }, spawned);
    const skipping = setInterval(() => void skipBackoffs(), 200);
    for (let kill = 0; kill < kills && (await openAmong(ids)) > 0; kill++) {
      const n = Math.floor(random() * processes);
      const victim = workers[n] as WorkerProcess;
      const at = victim.lines.length + 1 + Math.floor(random() * 20);
      await eventually('it works', async () => victim.lines.length >= at || (await openAmong(ids)) === 0, 30_000);
      await victim.kill();
      workers[n] = spawned();
    }
    await eventually('all tasks end', async () => (await openAmong(ids)) === 0, 120_000);
    clearInterval(skipping);
    let attempts = 0;
    for (const taskId of ids) {
      const log = await logOf(taskId);
      expect(log.at(-1)).toMatchObject({ type: 'TASK_COMPLETED', payload: { result: pieces } });
      expect(foldedOutput(log)).toBe(input.pieces.join(''));
      attempts += log.filter(({ type }) => type === 'TASK_RETRYING').length + 1;
    }
    expect(attempts).toBeGreaterThan(count);
    await checkInvariants(database.superuserUrl, { quiescent: true });
    await Promise.all(workers.map((worker) => worker.kill()));
    await service.stop();
  }, 300_000);

  it('or whose service is killed under them repeat their calls, and store every piece once', async () => {
    const [count, pieces, kills] = full ? [40, 100, 10] : [6, 60, 2];
    const port = await freePort();
    let service = await started({ PORT: port });
    const client = newPrincipal(service.url);
    const taskType = uniqueId('type');
    const input = { pieces: Array.from({ length: pieces }, (_, n) => `${n};`) };
    const ids = await Promise.all(Array.from({ length: count }, () => created(client, taskType, input)));
    const worker = new WorkerProcess({ url: service.url, taskType, concurrency: count, everyMs: 20 });
    const random = seededRandom(11);
    for (let kill = 0; kill < kills; kill++) {
      const at = worker.lines.length + 20 + Math.floor(random() * 60);
      await eventually('it works', () => worker.lines.length >= at, 30_000);
      service.kill('SIGKILL');
      await service.exited;
      service = await started({ PORT: port });
    }
    await eventually('all tasks end', async () => (await openAmong(ids)) === 0, 120_000);
    for (const taskId of ids) {
      const log = await logOf(taskId);
      const types = log.map(({ type }) => type);
      // A lease of which the worker never heard, because the service died answering the claim, runs out before any output.
      const unheard = types.slice(1).findIndex((type) => type !== 'TASK_RETRYING');
      expect(types.toSpliced(1, unheard)).toEqual([
        'TASK_STARTED',
        ...Array(pieces).fill('TASK_OUTPUT'),
        'TASK_COMPLETED',
      ]);
      expect(foldedOutput(log)).toBe(input.pieces.join(''));
    }
    await worker.kill();
    await service.stop();
  }, 300_000);
});

describe('A crash at any database round trip', () => {
  let proxy: PostgresProxy;
  let service: Service;
  let port: string;
  const client = () => new Client(service.url, 'owner');
  const worker = () => new WorkerClient(service.url);
  const start = async () => {
    service = await started({ DATABASE_URL: proxy.url, PORT: port });
  };

  beforeAll(async () => {
    proxy = await PostgresProxy.start(database.appUrl);
    port = await freePort();
    await start();
  });

  afterAll(async () => {
    await service.stop();
    await proxy.close();
  });

  /** Round trips that name any of these, and the COMMIT of each transaction in which one did. */
  const storyOf = (...names: readonly string[]): Matcher => {
    const touched = new Set<number>();
    return ({ connection, sql, parameters }) => {
      if (/^\s*begin\b/i.test(sql)) touched.delete(connection);
      if (/^\s*commit\b/i.test(sql)) return touched.delete(connection);
      if (!names.some((name) => parameters.includes(name))) return false;
      touched.add(connection);
      return true;
    };
  };

  const kill = async () => {
    service.kill('SIGKILL');
    await service.exited;
  };

  interface Operation<Held> {
    /** Leads to where the call can be made. */
    prepare(): Promise<Held>;
    readonly names: (held: Held) => readonly string[];
    call(held: Held): Promise<Answer<unknown>>;
    /** Repeats as documented, and goes on to the end of the task. */
    goOn(held: Held): Promise<void>;
  }

  /**
   * Stops the conversation with PostgreSQL at every round trip of a call, before PostgreSQL sees it and after it has answered; by
   * cutting the connection, and after the commit (in full: everywhere) also by a `kill -9` of the service. Returns the number of
   * trips.
   */
  async function interruptedEverywhere<Held>({ prepare, names, call, goOn }: Operation<Held>): Promise<number> {
    let trips = 0;
    const interrupted = async (side: 'before' | 'after', k: number, act?: () => Promise<void>): Promise<boolean> => {
      const held = await prepare();
      let hit: string | undefined;
      const reached = proxy[side](k, { matches: storyOf(...names(held)), ...(act && { act }) }).then(({ sql }) => {
        hit = sql;
      });
      const answer = await call(held).catch(() => undefined);
      // The answer may be there before the proxy has told us.
      if (answer === undefined || answer.status >= 500) await reached;
      proxy.resume();
      if (hit === undefined) {
        expect(answer?.status).toBeLessThan(300);
        trips = k - 1;
      } else if (act) await start();
      else if (answer && answer.status >= 500) {
        expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, expect.stringMatching(/^\d+$/)]);
      }
      await goOn(held);
      return hit !== undefined;
    };
    for (const side of ['before', 'after'] as const) {
      for (let k = 1; await interrupted(side, k); k++) expect(k).toBeLessThan(20);
      const kills = full ? trips : side === 'after' ? 1 : 0;
      for (let k = trips - kills + 1; k <= trips; k++) expect(await interrupted(side, k, kill)).toBe(true);
    }
    return trips;
  }

  const newTask = async () => {
    const taskType = uniqueId('type');
    return { taskType, taskId: await created(client(), taskType) };
  };
  const leased = async () => {
    const { taskType } = await newTask();
    return worker().lease(taskType);
  };
  const completed = async (lease: Lease) => {
    const answer = await worker().complete(lease, 'done');
    expect(answer.status).toBe(200);
    expect(await logOf(lease.taskId)).toHaveLength(Number(answer.body.eventId));
  };
  const expireLeaseOf = (taskId: string) =>
    superuser.query(
      `UPDATE taskbridge.proj_tasks SET lease_expires_at = now() - interval '1 s'
       WHERE task_id = $1 AND lease_token IS NOT NULL`,
      [taskId],
    );

  it('of a claim loses no task: it is claimed by the repeat, or by a next attempt', async () => {
    const trips = await interruptedEverywhere({
      prepare: newTask,
      names: ({ taskType, taskId }) => [taskType, taskId],
      call: ({ taskType }) => worker().claim({ taskTypes: [taskType] }),
      goOn: async ({ taskType, taskId }) => {
        let { leases } = (await worker().claim({ taskTypes: [taskType] })).body;
        if (leases.length === 0) {
          // It was leased, and no answer named the lease. Its statement may still be under way when the repeat is answered, and is
          // then stored after it, or not at all.
          await eventually('it is handed out', async () => {
            await expireLeaseOf(taskId);
            await skipBackoffs();
            ({ leases } = (await worker().claim({ taskTypes: [taskType] })).body);
            return leases.length > 0;
          });
        }
        const attempt = (await typesOf(taskId)).includes('TASK_RETRYING') ? 2 : 1;
        expect(leases.map((lease) => lease.attempt)).toEqual([attempt]);
        expect(leases.map((lease) => lease.taskId)).toEqual([taskId]);
        await completed(leases[0] as Lease);
      },
    });
    expect(trips).toBeGreaterThanOrEqual(1);
  }, 120_000);

  it('of a batch stores it once', async () => {
    const events = [output('a'), output('b', 'other')];
    const trips = await interruptedEverywhere({
      prepare: leased,
      names: ({ taskId }) => [taskId],
      call: (lease) => worker().events(lease, 1, events),
      goOn: async (lease) => {
        const again = await worker().events(lease, 1, events);
        expect([again.status, again.body.eventIds]).toEqual([200, ['2', '3']]);
        await completed(lease);
        expect(await typesOf(lease.taskId)).toEqual(['TASK_STARTED', 'TASK_OUTPUT', 'TASK_OUTPUT', 'TASK_COMPLETED']);
      },
    });
    expect(trips).toBeGreaterThanOrEqual(1);
  }, 120_000);

  it('of a question asks it once, and the repeat gets its id', async () => {
    const trips = await interruptedEverywhere({
      prepare: leased,
      names: ({ taskId }) => [taskId],
      call: (lease) => worker().suspend(lease),
      goOn: async (lease) => {
        const again = await worker().suspend(lease);
        expect([again.status, again.body]).toEqual([200, { suspendId: expect.any(String), eventId: '2' }]);
        const { suspendId } = again.body;
        expect((await client().snapshot(lease.taskId)).body.openSuspension).toMatchObject({ suspendId });
        const action = { clientActionId: uniqueId(), suspendId, actionType: 'approve' };
        expect((await client().act(lease.taskId, action)).body.status).toBe('ACCEPTED');
        await completed(await worker().lease(lease.taskType));
      },
    });
    expect(trips).toBeGreaterThanOrEqual(5);
  }, 120_000);

  it('of an action accepts it once: the winner is never told that somebody else won, and the task goes on once', async () => {
    const trips = await interruptedEverywhere<{ lease: Lease; action: Action }>({
      prepare: async () => {
        const lease = await leased();
        const { suspendId } = (await worker().suspend(lease)).body;
        return { lease, action: { clientActionId: uniqueId(), suspendId, actionType: 'approve', payload: { n: 1 } } };
      },
      names: ({ lease }) => [lease.taskId],
      call: ({ lease, action }) => client().act(lease.taskId, action),
      goOn: async ({ lease, action }) => {
        const again = await client().act(lease.taskId, action);
        expect(['202 ACCEPTED', '200 DEDUPLICATED']).toContain(`${again.status} ${again.body.status}`);
        expect((await client().act(lease.taskId, action)).body.status).toBe('DEDUPLICATED');
        const resumed = await worker().lease(lease.taskType);
        expect(resumed.resume).toMatchObject({ clientActionId: action.clientActionId, payload: { n: 1 } });
        expect((await worker().claim({ taskTypes: [lease.taskType] })).body.leases).toEqual([]);
        await completed(resumed);
        const types = ['TASK_STARTED', 'TASK_SUSPENDED', 'TASK_ACTION_ACCEPTED', 'TASK_COMPLETED'];
        expect(await typesOf(lease.taskId)).toEqual(types);
      },
    });
    expect(trips).toBeGreaterThanOrEqual(6);
  }, 120_000);

  it('of a completion completes once, and answers the repeat as it would have the first', async () => {
    const trips = await interruptedEverywhere({
      prepare: leased,
      names: ({ taskId }) => [taskId],
      call: (lease) => worker().complete(lease, 'done'),
      goOn: async (lease) => {
        expect((await worker().complete(lease, 'done')).body).toEqual({ eventId: '2' });
        await completed(lease);
        expect(await typesOf(lease.taskId)).toEqual(['TASK_STARTED', 'TASK_COMPLETED']);
      },
    });
    expect(trips).toBeGreaterThanOrEqual(4);
  }, 120_000);

  it('of a failure that is retried counts once', async () => {
    await interruptedEverywhere({
      prepare: leased,
      names: ({ taskId }) => [taskId],
      call: (lease) => worker().fail(lease, { retryable: true, retryAfterMs: 0 }),
      goOn: async (lease) => {
        const again = await worker().fail(lease, { retryable: true, retryAfterMs: 0 });
        expect([again.status, again.body]).toEqual([200, { eventId: '2', willRetry: true }]);
        const spent = 'SELECT spent_attempts FROM taskbridge.proj_tasks WHERE task_id = $1';
        expect((await superuser.query(spent, [lease.taskId])).rows).toEqual([{ spent_attempts: 1 }]);
        await completed(await worker().lease(lease.taskType));
      },
    });
  }, 120_000);
});

describe('A thousand waiting claims', () => {
  it('cost no connection and few queries, and one of them is answered at once when there is a task', async () => {
    const idle = 1_000;
    const proxy = await PostgresProxy.start(database.appUrl);
    const service = await started({ DATABASE_URL: proxy.url, DATABASE_POOL_MAX: '10' });
    const client = newPrincipal(service.url);
    const taskType = uniqueId('type');
    const agent = new Agent({ keepAlive: true, maxSockets: idle });

    /** Round trips a second, and the most connections that were at work at one time. */
    const measured = async (ms: number) => {
      const before = proxy.count();
      const since = performance.now();
      let busiest = 0;
      let connections = 0;
      while (performance.now() - since < ms) {
        const { rows } = await superuser.query<{ all: number; busy: number }>(
          `SELECT count(*)::int AS all, count(*) FILTER (WHERE state <> 'idle')::int AS busy FROM pg_stat_activity
           WHERE datname = current_database() AND application_name LIKE 'taskbridge/%'`,
        );
        busiest = Math.max(busiest, rows[0]?.busy ?? 0);
        connections = Math.max(connections, rows[0]?.all ?? 0);
        await delay(20);
      }
      return { perSecond: ((proxy.count() - before) * 1000) / (performance.now() - since), busiest, connections };
    };

    const baseline = await measured(2_000);

    let waiting = 0;
    let over = false;
    const leases: unknown[] = [];
    const refusals: string[] = [];
    // Short waits, so that a measurement of seconds has many renewals of the claims in it.
    const waitTimeoutMs = full ? 30_000 : 8_000;
    const idler = async (n: number) => {
      while (!over) {
        waiting += 1;
        const answer = await post(agent, service.url, { workerId: `idle-${n}`, taskTypes: [taskType], waitTimeoutMs });
        waiting -= 1;
        if (answer.refused !== undefined) {
          refusals.push(answer.refused);
          await delay(1_000);
        }
        leases.push(...answer.leases);
        // This one has something to do now.
        if (answer.leases.length > 0) return;
      }
    };
    const begun = proxy.count();
    const idlers = Array.from({ length: idle }, (_, n) => idler(n));
    await eventually('all wait', () => waiting === idle);
    const renewed = await measured(full ? 40_000 : 9_000);
    const inAll = proxy.count() - begun;
    const figures = [
      `without claims: ${baseline.perSecond.toFixed(1)} round trips/s, ${baseline.connections} connections`,
      `with ${idle} waiting claims of ${waitTimeoutMs / 1000} s each, renewed: ${renewed.perSecond.toFixed(1)} round trips/s,` +
        ` ${renewed.connections} connections, at most ${renewed.busiest} busy; ${inAll} round trips in all`,
    ];

    const since = performance.now();
    const ids = [await created(client, taskType)];
    await eventually('one is answered', () => leases.length === 1);
    figures.push(`a task reaches one of them after ${(performance.now() - since).toFixed(0)} ms`);
    for (let n = 1; n < 50; n++) ids.push(await created(client, taskType));
    await eventually('all tasks are handed out', () => leases.length === 50);
    expect(new Set((leases as Lease[]).map(({ taskId }) => taskId))).toEqual(new Set(ids));
    console.log(figures.join('\n'));

    over = true;
    // The draining replica answers them all.
    const [exit] = await Promise.all([service.stop(), ...idlers]);
    expect(exit).toEqual({ code: 0, signal: null });
    agent.destroy();
    await proxy.close();
    // Both ends and the proxy share a busy machine: PostgreSQL may look silent for a moment, and a worker then asks again.
    expect(refusals.filter((refusal) => !refusal.includes('SERVICE_UNAVAILABLE'))).toEqual([]);
    expect(refusals.length).toBeLessThan(idle / 20);
    expect(renewed.connections).toBeLessThanOrEqual(10);
    // Four that look for work, one that looks for all who wait, and the reaper.
    expect(renewed.busiest).toBeLessThanOrEqual(6);
    expect(renewed.perSecond - baseline.perSecond).toBeLessThan(20);
  }, 120_000);
});

/** A free port, for a service that comes back under the same address. */
async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return String(port);
}

/** A claim over a connection of its own: `fetch` has a pool that a thousand of them would share. */
function post(agent: Agent, url: string, body: object): Promise<{ leases: Lease[]; refused?: string }> {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${WORKER_TOKEN}` };
    const sent = request(`${url}/worker/v1/leases`, { method: 'POST', agent, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        if (response.statusCode === 200) resolve(JSON.parse(text) as { leases: Lease[] });
        else resolve({ leases: [], refused: `${response.statusCode} ${text}` });
      });
    });
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}
