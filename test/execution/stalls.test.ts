import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { LeaseLost } from '../../src/tasks/domain/tasks.errors.js';
import { ClaimTasks } from '../../src/tasks/claim-tasks.js';
import { EndLostAttempts } from '../../src/tasks/end-lost-attempts.js';
import { ExtendLease } from '../../src/tasks/extend-lease.js';
import { type HeldLease, renewLeases } from '../../src/tasks/store/renew-leases.js';
import { Client, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants, connected, storedEnvelopes } from '../support/fold.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { createReplica, type Replica, waitingTask } from '../support/replica.js';
import { eventually, type Service, startService } from '../support/service.js';
import { startWorker, WORKER_TOKEN } from '../support/worker.js';

const HOST_MODULE = fileURLToPath(new URL('../support/stalling-host.js', import.meta.url));
/** A lease that a stall outlasts twice. */
const LEASE = { LEASE_SECONDS: '3', TASK_MAX_ATTEMPTS: '2' };
const STALL_MS = 6_000;

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterEach(() => checkInvariants(database.superuserUrl));

afterAll(() => database.drop());

const started = (env: Record<string, string>): Promise<Service> =>
  startService({ DATABASE_URL: database.appUrl, HOST_MODULE, ...LEASE, ...env }, { deadlineMs: 60_000 });

async function created(client: Client, taskType: string, input: Record<string, unknown>): Promise<string> {
  const body = { clientRequestId: uniqueId(), taskType, input };
  // A process that stood still may refuse for now, so the test repeats the create as a client does.
  return eventually('it is accepted', async () => {
    const answer = await client.create(body);
    expect([200, 201, 503]).toContain(answer.status);
    return answer.status === 503 ? undefined : answer.body.taskId;
  });
}

const logOf = async (taskId: string, { superuserUrl } = database) =>
  (await storedEnvelopes(superuserUrl, taskId)).map(
    (raw) => JSON.parse(raw) as { type: string; payload: Record<string, unknown> },
  );

const saysOf = async (taskId: string, of = database) =>
  (await logOf(taskId, of)).map(({ type }) => type).filter((type) => type !== 'TASK_OUTPUT' && type !== 'TASK_MESSAGE');

const begun = (taskId: string) => eventually('it is begun', async () => (await logOf(taskId)).length > 0);

const over = (taskId: string) =>
  eventually(
    'it is over',
    async () => /COMPLETED|FAILED|CANCELLED/.test((await logOf(taskId)).at(-1)?.type ?? ''),
    30_000,
  );

const IN_ONE_ATTEMPT = ['TASK_STARTED', 'TASK_COMPLETED'];

describe('A process that stalls for longer than a lease', () => {
  it('costs no task that runs in it an attempt: neither the one that stalls it, nor one that waits, nor one that speaks', async () => {
    const service = await started({});
    const client = newPrincipal(service.url);
    const bystanders = [
      await created(client, 'stall.wait', { ms: STALL_MS + 3_000 }),
      await created(client, 'stall.speak', { ms: STALL_MS + 3_000 }),
    ];
    for (const taskId of bystanders) await begun(taskId);
    const burning = await created(client, 'stall.burn', { ms: STALL_MS });
    for (const taskId of [burning, ...bystanders]) {
      await over(taskId);
      expect(await saysOf(taskId)).toEqual(IN_ONE_ATTEMPT);
    }
    await service.stop();
  }, 120_000);

  it('costs no task of a worker that waits for its answers an attempt', async () => {
    const service = await started({ EXECUTOR: 'inline,worker', WORKER_TOKENS: WORKER_TOKEN });
    const worker = startWorker({ url: service.url });
    const client = newPrincipal(service.url);
    const bystanders = [
      // Several: the first renewal behind the stall may outrun a reaper that waits for none.
      ...(await Promise.all(Array.from({ length: 6 }, () => created(client, 'both.sleep', { ms: STALL_MS + 3_000 })))),
      await created(client, 'both.stream', { count: 900, seconds: 9, text: '.'.repeat(900) }),
    ];
    for (const taskId of bystanders) await begun(taskId);
    // Two of them, with a turn of the event loop between: too short for an answer.
    const burning = [
      await created(client, 'stall.burn', { ms: STALL_MS / 2 }),
      await created(client, 'stall.burn', { ms: STALL_MS / 2 }),
    ];
    for (const taskId of [...burning, ...bystanders]) {
      await over(taskId);
      const says = await saysOf(taskId);
      expect({ burns: burning.includes(taskId), says }).toEqual({
        burns: burning.includes(taskId),
        says: IN_ONE_ATTEMPT,
      });
    }
    expect(worker.stdout()).not.toContain('lease_lost');
    worker.kill('SIGKILL');
    await worker.exited;
    await service.stop();
  }, 120_000);

  it('loses what another replica took meanwhile, and stores nothing of it any more', async () => {
    const service = await started({});
    const other = await started({ EXECUTOR: 'worker' });
    const client = newPrincipal(service.url);
    const taskId = await created(client, 'stall.speak', { ms: STALL_MS + 1_000 });
    await begun(taskId);
    await created(client, 'stall.burn', { ms: STALL_MS });
    await over(taskId);
    expect(await saysOf(taskId)).toEqual(['TASK_STARTED', 'TASK_RETRYING', 'TASK_COMPLETED']);
    const log = await logOf(taskId);
    const retriedAt = log.findIndex(({ type }) => type === 'TASK_RETRYING');
    expect(log[retriedAt]?.payload).toMatchObject({ attempt: 2, reason: 'lease_expired' });
    const afterwards = log.slice(retriedAt).filter(({ type }) => type === 'TASK_OUTPUT');
    expect(new Set(afterwards.map(({ payload }) => payload['attempt']))).toEqual(new Set([2]));
    await Promise.all([service.stop(), other.stop()]);
  }, 120_000);

  it('goes on reaping what others lost', async () => {
    const service = await started({ EXECUTOR: 'inline,worker', WORKER_TOKENS: WORKER_TOKEN });
    const client = newPrincipal(service.url);
    const worker = startWorker({ url: service.url });
    const taskId = await created(client, 'both.sleep', { ms: 60_000 });
    await begun(taskId);
    worker.kill('SIGKILL');
    await created(client, 'stall.burn', { ms: STALL_MS });
    await eventually('it is taken back', async () => (await saysOf(taskId)).includes('TASK_RETRYING'), 20_000);
    await client.cancel(taskId);
    await service.stop();
  }, 120_000);
});

describe('A renewal of an expired lease', () => {
  let replicas: Replica[];
  /** The tests below have a database of their own, so no other reaper takes part. */
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createTestDatabase();
    replicas = await Promise.all([createReplica(database.appUrl), createReplica(database.appUrl)]);
  });

  afterAll(async () => {
    await Promise.all(replicas.map((replica) => replica.stop()));
    await checkInvariants(database.superuserUrl);
    await database.drop();
  });

  async function expired(count: number): Promise<HeldLease[]> {
    const [replica] = replicas as [Replica, Replica];
    const taskType = uniqueId('raced');
    for (let n = 0; n < count; n++) await waitingTask(replica.database, taskType);
    const worker = { workerId: 'worker', principalId: 'worker' };
    const leases = await replica.get(ClaimTasks).execute(worker, [taskType], count);
    const held = leases.map(({ identity: { taskId }, token }) => ({ taskId, leaseToken: token }));
    await connected(database.superuserUrl, (db) =>
      db.query(
        "UPDATE taskbridge.proj_tasks SET lease_expires_at = now() - interval '1 min' WHERE task_id = ANY ($1::uuid[])",
        [held.map(({ taskId }) => taskId)],
      ),
    );
    return held;
  }

  /** The tokens by which tasks are held, and alive. */
  const alive = async (): Promise<Set<string>> =>
    connected(database.superuserUrl, async (db) => {
      const sql = 'SELECT lease_token FROM taskbridge.proj_tasks WHERE lease_expires_at > clock_timestamp()';
      return new Set((await db.query<{ lease_token: string }>(sql)).rows.map((row) => row.lease_token));
    });

  it.each(['one by one', 'together'])(
    'and the reaper that takes it: exactly one of them wins, renewed %s',
    async (how) => {
      const [holder, other] = replicas as [Replica, Replica];
      const winners = { renewal: 0, reaper: 0 };
      for (let round = 0; round < 30; round++) {
        const held = await expired(8);
        const renewing = async (): Promise<readonly string[]> => {
          if (how === 'together') return renewedOf(holder, held);
          const tokens = held.map((one) =>
            holder
              .get(ExtendLease)
              .execute(one)
              .then(
                () => one.leaseToken,
                (error: unknown) => {
                  expect(error).toBeInstanceOf(LeaseLost);
                  return undefined;
                },
              ),
          );
          return (await Promise.all(tokens)).filter((token) => token !== undefined);
        };
        const reaping = () => other.get(EndLostAttempts).execute();
        const [renewed, reaped] = await (round % 2
          ? Promise.all([renewing(), reaping()])
          : Promise.all([reaping(), renewing()]).then(([b, a]) => [a, b] as const));
        const taken = new Set(reaped.map(({ record: { identity } }) => identity.taskId));
        const stillAlive = await alive();
        for (const { taskId, leaseToken } of held) {
          // Skipped by both, as neither waits for the other: then the next renewal has it.
          const isRenewed = renewed.includes(leaseToken) || (await renewedLater(holder, taskId, leaseToken, taken));
          expect([isRenewed, taken.has(taskId)]).toEqual([!taken.has(taskId), !isRenewed]);
          expect(await saysOf(taskId, database)).toEqual(
            isRenewed ? ['TASK_STARTED'] : ['TASK_STARTED', 'TASK_RETRYING'],
          );
          if (renewed.includes(leaseToken)) expect(stillAlive).toContain(leaseToken);
          winners[isRenewed ? 'renewal' : 'reaper'] += 1;
        }
      }
      expect(Math.min(winners.renewal, winners.reaper)).toBeGreaterThan(0);
    },
    60_000,
  );

  async function renewedOf({ database: of }: Replica, held: readonly HeldLease[]): Promise<readonly string[]> {
    const renewals = await renewLeases(of, held, 30);
    return held.filter((_, i) => renewals[i]?.outcome === 'renewed').map(({ leaseToken }) => leaseToken);
  }

  async function renewedLater(
    holder: Replica,
    taskId: string,
    leaseToken: string,
    taken: ReadonlySet<string>,
  ): Promise<boolean> {
    if (taken.has(taskId)) return false;
    return (await renewedOf(holder, [{ taskId, leaseToken }])).includes(leaseToken);
  }
});
