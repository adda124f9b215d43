import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { connectionOptions } from '../../src/database/session-settings.js';
import { ClaimTasks } from '../../src/tasks/claim-tasks.js';
import type { Lease } from '../../src/tasks/domain/lease.js';
import { EndAttempt, type Ending } from '../../src/tasks/end-attempt.js';
import { QueueOrder } from '../../src/tasks/queue-order.js';
import { CLAIM, CLAIM_OF_TENANTS } from '../../src/tasks/store/claim-batch.js';
import { SubmitTask } from '../../src/tasks/submit-task.js';
import type { AuthContext } from '../../src/auth/auth-context.js';
import { uniqueId } from '../support/client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { createReplica, type Replica } from '../support/replica.js';

const WORKER = { workerId: 'queue', principalId: 'worker:queue' };
const MANY = process.env['FULL'] === '1' ? 1_000_000 : 50_000;

let test: TestDatabase;
let superuser: pg.Client;
let replica: Replica;

beforeAll(async () => {
  test = await createTestDatabase();
  superuser = new pg.Client({ connectionString: test.superuserUrl });
  await superuser.connect();
  replica = await createReplica(test.appUrl, { env: { OPEN_TASKS_PER_PRINCIPAL: '0', EXECUTOR: 'worker' } });
});

afterAll(async () => {
  await replica.stop();
  await superuser.end();
  await test.drop();
});

const auth = (subject: string): AuthContext => ({ subject, scopes: new Set(['tasks:write']), attributes: {} });

async function create(taskType: string, owner: string, on = replica): Promise<string> {
  const { taskId } = await on.get(SubmitTask).execute(auth(owner), { clientRequestId: uniqueId(), taskType });
  return taskId;
}

const claim = (taskTypes: readonly string[], limit: number, on = replica): Promise<readonly Lease[]> =>
  on.get(ClaimTasks).execute(WORKER, taskTypes, limit);

const ownersOf = (leases: readonly Lease[]) => leases.map(({ identity }) => identity.ownerId);

/** Rows as release 0.1.0 makes them, and SQL: without a place. */
async function insert(
  taskType: string,
  owner: string,
  count: number,
  columns: Record<string, unknown> = {},
): Promise<void> {
  const names = Object.keys(columns);
  await superuser.query(
    `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, claimable_at,
      correlation_id${names.map((name) => `, ${name}`).join('')})
    SELECT gen_random_uuid(), '', $1, gen_random_uuid()::text, '', $2, date_trunc('milliseconds', clock_timestamp()), gen_random_uuid()
      ${names.map((_, index) => `, $${index + 4}`).join('')}
    FROM generate_series(1, $3::int)`,
    [owner, taskType, count, ...Object.values(columns)],
  );
}

async function placeOf(taskId: string): Promise<number | null> {
  const { rows } = await superuser.query<{ vtime: number | null }>(
    'SELECT vtime FROM taskbridge.proj_tasks WHERE task_id = $1',
    [taskId],
  );
  return rows[0]?.vtime ?? null;
}

describe('Owners that wait for a type', () => {
  it('get equal shares, however many tasks each has', async () => {
    const taskType = uniqueId('shares');
    const [big, ...small] = Array.from({ length: 100 }, (_, n) => `owner-${n}`) as [string, ...string[]];
    await insert(taskType, big, 1_800);
    for (const owner of small) await insert(taskType, owner, 2);
    await replica.get(QueueOrder).round();
    const first: string[] = [];
    while (first.length < 200) first.push(...ownersOf(await claim([taskType], 25)));
    const shares = new Map([...Map.groupBy(first, (owner) => owner)].map(([owner, all]) => [owner, all.length]));
    expect(shares.size).toBe(100);
    for (const share of shares.values()) expect(Math.abs(share - 2)).toBeLessThanOrEqual(0.05 * 2);
    expect(new Set(ownersOf(await claim([taskType], 25)))).toEqual(new Set([big]));
  });

  it('differ by two tasks at most while both wait, whatever is created and claimed in between', async () => {
    const step = fc.oneof(
      fc.record({ owner: fc.nat(3), created: fc.integer({ min: 1, max: 6 }), bySql: fc.boolean() }),
      fc.record({ claimed: fc.integer({ min: 1, max: 5 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 24 }), async (steps) => {
        const taskType = uniqueId('fair');
        const owners = Array.from({ length: 4 }, (_, n) => ({ name: `o${n}`, waiting: 0 }));
        /** Of each pair: how many more tasks the first got than the second since both wait. */
        const lead = new Map<string, number>();
        for (const one of steps) {
          if ('claimed' in one) {
            for (const name of ownersOf(await claim([taskType], one.claimed))) {
              const owner = owners.find((other) => other.name === name);
              if (!owner) throw new Error('a task of nobody');
              for (const other of owners) {
                const pair = `${owner.name}/${other.name}`;
                if (other === owner || other.waiting === 0) continue;
                lead.set(pair, (lead.get(pair) ?? 0) + 1);
                lead.set(`${other.name}/${owner.name}`, (lead.get(`${other.name}/${owner.name}`) ?? 0) - 1);
                expect(lead.get(pair)).toBeLessThanOrEqual(2);
              }
              owner.waiting -= 1;
              if (owner.waiting === 0) for (const pair of lead.keys()) if (pair.includes(owner.name)) lead.delete(pair);
            }
          } else {
            const owner = owners[one.owner] ?? { name: '', waiting: 0 };
            if (one.bySql) await insert(taskType, owner.name, one.created);
            else await Promise.all(Array.from({ length: one.created }, () => create(taskType, owner.name)));
            await replica.get(QueueOrder).round();
            owner.waiting += one.created;
          }
        }
      }),
      { numRuns: process.env['FULL'] === '1' ? 300 : 40 },
    );
  });

  it('wait behind each other’s backlog no longer after a restart', async () => {
    const taskType = uniqueId('restart');
    await insert(taskType, 'old', 50);
    await replica.get(QueueOrder).round();
    await claim([taskType], 20);
    const second = await createReplica(test.appUrl, { env: { EXECUTOR: 'worker' } });
    try {
      await create(taskType, 'new', second);
      await create(taskType, 'new', second);
      const owners = ownersOf(await claim([taskType], 6, second));
      expect(owners.filter((owner) => owner === 'new')).toHaveLength(2);
      expect(owners.filter((owner) => owner === 'old')).toHaveLength(4);
    } finally {
      await second.stop();
    }
  });

  it('gain nothing from creating the next task when the last one has begun', async () => {
    const taskType = uniqueId('one-by-one');
    for (const owner of ['a', 'b', 'c', 'd']) await insert(taskType, owner, 20);
    await replica.get(QueueOrder).round();
    await create(taskType, 'eager');
    const owners: string[] = [];
    for (let n = 0; n < 50; n += 1) {
      const [owner] = ownersOf(await claim([taskType], 1));
      owners.push(owner ?? '');
      if (owner === 'eager') await create(taskType, 'eager');
    }
    expect(Math.abs(owners.filter((owner) => owner === 'eager').length - 10)).toBeLessThanOrEqual(1);
  });
});

describe('The order of the queue', () => {
  it('is that of creation for one owner, also within a batch', async () => {
    const taskType = uniqueId('fifo');
    const created = await Promise.all(Array.from({ length: 30 }, () => create(taskType, 'owner')));
    const claimed = [...(await claim([taskType], 10)), ...(await claim([taskType], 20))];
    expect(claimed.map(({ identity }) => identity.taskId)).toEqual(created);
  });

  it('puts higher priorities first, and owners of one priority share', async () => {
    const taskType = uniqueId('priority');
    await insert(taskType, 'a', 10);
    for (const owner of ['b', 'c']) await insert(taskType, owner, 3, { priority: 9 });
    await insert(taskType, 'd', 2, { priority: 0 });
    await replica.get(QueueOrder).round();
    const owners = ownersOf(await claim([taskType], 18));
    expect(owners.slice(0, 2).toSorted()).toEqual(['b', 'c']);
    expect(owners.slice(2, 4).toSorted()).toEqual(['b', 'c']);
    expect(owners.slice(6, 16)).toEqual(Array.from({ length: 10 }, () => 'a'));
    expect(owners.slice(16)).toEqual(['d', 'd']);
  });

  it('starves no task while as many of the highest priority come as are claimed, each of a new owner', async () => {
    const taskType = uniqueId('starving');
    await insert(taskType, 'patient', 1, { priority: 8 });
    await replica.get(QueueOrder).round();
    let rounds = 0;
    for (let isServed = false; !isServed; rounds += 1) {
      expect(rounds).toBeLessThan(300);
      await insert(taskType, `new-${rounds}`, 1, { priority: 9 });
      await replica.get(QueueOrder).round();
      isServed = ownersOf(await claim([taskType], 1)).includes('patient');
    }
    expect(rounds).toBeGreaterThan(10);
  });

  it('moves with each claim, however many new owners come', () => {
    const taskType = uniqueId('crowd');
    const order = new QueueOrder(replica.database);
    const line = { tenantId: '', ownerId: 'new', taskType };
    const before = order.earliest(line);
    for (let n = 0; n < 20_000; n += 1) order.served(taskType, 0);
    expect(order.earliest(line)).toBeGreaterThan(before + 1);
  });

  it('takes turns between types, so a full type delays no other', async () => {
    const [full, other] = [uniqueId('full'), uniqueId('other')];
    await insert(full, 'big', 500);
    await replica.get(QueueOrder).round();
    await claim([full, other], 1);
    await insert(other, 'small', 3);
    await replica.get(QueueOrder).round();
    const owners: string[] = [];
    for (let n = 0; n < 6; n += 1) owners.push(...ownersOf(await claim([full, other], 1)));
    expect(owners.filter((owner) => owner === 'small')).toHaveLength(3);
    expect(ownersOf(await claim([full, other], 4))).toEqual(['big', 'big', 'big', 'big']);
  });

  it('gives what comes back the present place, at once or when its backoff is over', async () => {
    const taskType = uniqueId('back');
    for (const owner of ['a', 'b']) await insert(taskType, owner, 5);
    await replica.get(QueueOrder).round();
    const [released, failed] = (await claim([taskType], 2)) as [Lease, Lease];
    const end = replica.get(EndAttempt);
    await end.execute(released.identity.taskId, { kind: 'release', token: released.token }, {});
    const failure = { code: 'X', message: 'x', retryable: true, retryAfterMs: 60_000 } as const;
    await end.execute(failed.identity.taskId, { kind: 'fail', token: failed.token, ...failure }, {});
    expect(await placeOf(released.identity.taskId)).toBeCloseTo(replica.get(QueueOrder).now(taskType));
    expect(await placeOf(failed.identity.taskId)).toBeNull();
    expect((await claim([taskType], 1)).map(({ identity }) => identity.taskId)).toEqual([released.identity.taskId]);
    await replica.get(QueueOrder).round();
    expect(await placeOf(failed.identity.taskId)).toBeNull();
    await superuser.query('UPDATE taskbridge.proj_tasks SET claimable_at = now() WHERE task_id = $1', [
      failed.identity.taskId,
    ]);
    await replica.get(QueueOrder).round();
    expect((await claim([taskType], 1)).map(({ identity }) => identity.taskId)).toEqual([failed.identity.taskId]);
  });
});

describe('Claims that come together', () => {
  it('share what waits, each within its limit, and none gets a task of another', async () => {
    const taskType = uniqueId('together');
    await insert(taskType, 'owner', 7);
    await replica.get(QueueOrder).round();
    const claims = await Promise.all(
      [4, 1, 4].map((limit, n) =>
        replica.get(ClaimTasks).execute({ workerId: `w${n}`, principalId: `worker:w${n}` }, [taskType], limit),
      ),
    );
    expect(claims.map((leases) => leases.length)).toEqual([3, 1, 3]);
    const { rows } = await superuser.query<{ task_id: string; worker_id: string; lease_token: string }>(
      'SELECT task_id, worker_id, lease_token FROM taskbridge.proj_tasks WHERE task_type = $1',
      [taskType],
    );
    const held = claims.flatMap((leases, n) =>
      leases.map(({ identity, token }) => ({ task_id: identity.taskId, worker_id: `w${n}`, lease_token: token })),
    );
    expect(rows.toSorted((a, b) => a.task_id.localeCompare(b.task_id))).toEqual(
      held.toSorted((a, b) => a.task_id.localeCompare(b.task_id)),
    );
    expect(new Set(held.map(({ lease_token: token }) => token)).size).toBe(7);
  });
});

describe('Ends that come together', () => {
  it('are judged each by itself: the fence refuses one, and the others are stored', async () => {
    const taskType = uniqueId('ends');
    for (const owner of ['a', 'b']) await insert(taskType, owner, 4);
    const leases = await claim([taskType], 8);
    const [done, failed, released, cancelled, asked, stolen, expired, again] = leases as Required<typeof leases>;
    if (!done || !failed || !released || !cancelled || !asked || !stolen || !expired || !again)
      throw new Error('too few');
    await superuser.query(
      `UPDATE taskbridge.proj_tasks SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE task_id = $1`,
      [expired.identity.taskId],
    );
    const end = (lease: Lease, ending: Ending, remembered = false) =>
      replica
        .get(EndAttempt)
        .execute(lease.identity.taskId, ending, { remembered })
        .catch((error: Error) => error.name);
    const complete = (token: string) => ({ kind: 'complete', token, result: null }) as const;
    await end(again, complete(again.token), true);
    const question = {
      suspendId: 'q',
      kind: 'input',
      allowedActions: ['answer'],
      prompt: 'Well?',
    } as unknown as Extract<Ending, { kind: 'suspend' }>['question'];
    const answers = await Promise.all([
      end(done, complete(done.token)),
      end(failed, { kind: 'fail', token: failed.token, code: 'X', message: 'x', retryable: false }),
      end(released, { kind: 'release', token: released.token }),
      end(cancelled, { kind: 'confirm_cancellation', token: cancelled.token }),
      end(asked, { kind: 'suspend', token: asked.token, question }),
      end(stolen, complete('1.not-the-token')),
      end(expired, complete(expired.token)),
      end(again, complete(again.token), true),
      replica
        .get(EndAttempt)
        .execute(uuidv7(), complete('1.x'), {})
        .catch((error: Error) => error.name),
    ]);
    const stored = { eventId: '2', willRetry: false };
    expect(answers).toEqual([
      ...[stored, stored, { eventId: '2', willRetry: true }, stored, stored],
      ...['LeaseLost', 'LeaseLost', stored, 'LeaseLost'],
    ]);
    const { rows } = await superuser.query<{ task_id: string; type: string }>(
      `SELECT task_id, type FROM taskbridge.events WHERE event_id = 2 AND task_id = ANY ($1)`,
      [leases.map(({ identity }) => identity.taskId)],
    );
    expect(Object.fromEntries(rows.map((row) => [row.task_id, row.type]))).toEqual({
      [done.identity.taskId]: 'TASK_COMPLETED',
      [failed.identity.taskId]: 'TASK_FAILED',
      [released.identity.taskId]: 'TASK_RETRYING',
      [cancelled.identity.taskId]: 'TASK_CANCELLED',
      [asked.identity.taskId]: 'TASK_SUSPENDED',
      [again.identity.taskId]: 'TASK_COMPLETED',
    });
  });
});

describe('The plan of a claim', () => {
  async function planOf({ text }: { readonly text: string }, ...tenants: readonly string[]): Promise<string> {
    const client = new pg.Client(connectionOptions(test.superuserUrl));
    await client.connect();
    try {
      await client.query(`PREPARE claim AS ${text}`);
      const slots = [`ARRAY['w']`, `ARRAY['w']`, `ARRAY['s']`, 'ARRAY[30]'];
      const values = [`ARRAY['plan']`, 'ARRAY[0]', 'false', '1', ...slots, 'ARRAY[NULL::float8]', ...tenants].join(
        ', ',
      );
      const { rows } = await client.query<{ 'QUERY PLAN': string }>(`EXPLAIN (COSTS OFF) EXECUTE claim (${values})`);
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    } finally {
      await client.end();
    }
  }

  it.each([100, MANY])('reads the first of the queue, with %d waiting tasks', async (waiting) => {
    await superuser.query(
      `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, claimable_at, vtime,
        correlation_id)
      SELECT gen_random_uuid(), '', 'owner-' || n % ($1::int / 100), $2 || n, '', 'plan', now(), n / ($1::int / 100), gen_random_uuid()
      FROM generate_series(1, $1::int) AS n`,
      [waiting, uuidv7()],
    );
    await superuser.query('ANALYZE taskbridge.proj_tasks');
    for (const plan of [await planOf(CLAIM), await planOf(CLAIM_OF_TENANTS, `ARRAY['']`)]) {
      expect(plan).toMatch(/Limit\n\s+->\s+Index Scan using proj_tasks_queue on proj_tasks t/);
      // Neither whole tables nor all steps there are.
      expect(plan).not.toMatch(/Seq Scan|hashed/);
    }
  });
});
