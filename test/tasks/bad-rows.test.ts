import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import {
  type Answer,
  Client,
  type CreateBody,
  expectError,
  newPrincipal,
  type Snapshot,
  uniqueId,
} from '../support/client.js';
import { findViolations } from '../support/fold.js';
import { followSse, followWebSocket, type Reader } from '../support/follow.js';
import { Metrics } from '../support/metrics.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startEmbedded, startService, temporaryDirectory } from '../support/service.js';
import { type Held, type Lease, message, question, WITH_WORKERS, WorkerClient } from '../support/worker-client.js';

const CHECK = fileURLToPath(new URL('../../packages/checker/bin/check.mjs', import.meta.url));
/** How late a good task may be, on a machine that has other things to do. */
const USUAL_MS = 15_000;

interface AsideSnapshot extends Snapshot {
  readonly aside?: { readonly code: string };
}

let database: TestDatabase;
let superuser: pg.Client;
let services: readonly Service[];
let client: Client;
let beside: Client;
let worker: WorkerClient;

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  // The leases have their default length, so a good lease does not end by itself on a slow machine.
  const env = { DATABASE_URL: database.appUrl, CANCEL_GRACE_SECONDS: '1', ...WITH_WORKERS };
  services = await Promise.all([0, 1].map(() => startService(env, { lifetime: 'file', deadlineMs: 60_000 })));
  client = newPrincipal(services[0]?.url ?? '');
  beside = new Client(services[1]?.url ?? '', client.principal);
  worker = new WorkerClient(client.url);
}, 120_000);

afterAll(async () => {
  await superuser.end();
  await Promise.all(services.map((service) => service.stop()));
  await database.drop();
});

async function created(taskType: string, input: CreateBody['input'] = {}, by = client): Promise<string> {
  const answer = await by.create({ clientRequestId: uniqueId('request'), taskType, input });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.body.taskId;
}

/** A task of a type of its own, and the lease on it. */
async function leased(taskType = uniqueId('bad')): Promise<Lease> {
  await created(taskType);
  return worker.lease(taskType);
}

/** The effect of a restored backup, a bug or a manual change: an event above the task's head. */
const addEvent = (taskId: string, { type = 'TASK_PROGRESS', payload = '{"progress":50}', above = 1 } = {}) =>
  superuser.query(
    `INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
     SELECT task_id, head_event_id + $4, $2, $3, correlation_id, 'somebody' FROM taskbridge.proj_tasks WHERE task_id = $1`,
    [taskId, type, payload, above],
  );

const change = (taskId: string, set: string) =>
  superuser.query(`UPDATE taskbridge.proj_tasks SET ${set} WHERE task_id = $1`, [taskId]);

const EXPIRED = "lease_expires_at = now() - interval '1 s'";

const snapshotOf = async (taskId: string, by = client): Promise<AsideSnapshot> =>
  ((await by.snapshot(taskId)) as Answer<AsideSnapshot>).body;

async function asideCodeOf(taskId: string): Promise<string> {
  return eventually(`task ${taskId} is set aside`, async () => (await snapshotOf(taskId)).aside?.code, USUAL_MS);
}

const linesOf = (event: string) =>
  services.flatMap((service) => service.stdout().split('\n')).filter((line) => line.includes(`"msg":"${event}"`));

async function run(command: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [...command], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code: code as number, stdout, stderr };
}

const repair = (taskId: string, env: Record<string, string> = {}) =>
  run(['dist/repair.js', '--task', taskId], { MIGRATION_DATABASE_URL: database.ownerUrl, ...env });

const checked = () => run([CHECK, '--database-url', database.appUrl]);

describe('Rows that cannot be written, among many that can', () => {
  /** The bad tasks, by what is wrong with each. */
  const bad = new Map<string, { readonly taskId: string; readonly code: string }>();
  const readers: Reader[] = [];
  const GOOD = 150;

  it('are set aside one by one, and all others go on as usual, also those of other owners of their types', async () => {
    const other = newPrincipal(services[1]?.url ?? '');
    const note = (what: string, taskId: string, code = 'EVENT_ABOVE_HEAD') => void bad.set(what, { taskId, code });

    // Waiting: before others of its type, so that every claim of the type meets it.
    const waiting = uniqueId('waiting');
    for (const what of ['an event at the head', 'a payload that is no object', 'an end', 'an event of no known type']) {
      const taskId = await created(waiting);
      const payload = what.includes('object') ? '"corrupt"' : '{"progress":50}';
      const type = what.includes('end') ? 'TASK_COMPLETED' : what.includes('known') ? 'TASK_UNKNOWN' : 'TASK_PROGRESS';
      await addEvent(taskId, { type, payload });
      note(`waiting, ${what}`, taskId);
    }
    const contradictions: [string, string][] = [
      ['over and waiting', "status = 'COMPLETED'"],
      ['accepted, with events', 'head_event_id = 7'],
      ['running, without a first event', "status = 'RUNNING'"],
      ['with a last event below nothing', 'head_event_id = -5'],
      ['waiting and leased', "lease_token = '1.nobody', lease_expires_at = now() + interval '1 day'"],
      ['waiting and suspended', "suspend_id = 'nothing'"],
    ];
    for (const [what, set] of contradictions) {
      const taskId = await created(waiting);
      await change(taskId, set);
      note(what, taskId, 'STATE_INVALID');
    }
    for (const [what, set] of [
      ['attempts that cannot be counted further', 'attempt = 2147483647'],
      ['leases that cannot be counted further', 'lease_number = 2147483647'],
      ['revisions that cannot be counted further', 'revision = 9223372036854775807'],
    ] as const) {
      const taskId = await created(waiting);
      await change(taskId, set);
      note(what, taskId, 'NOT_WRITABLE');
    }

    // Held by somebody who went away, with an end that the reaper cannot store.
    const lost: Lease[] = [];
    for (let n = 0; n < 3; n += 1) lost.push(await leased());
    for (const { taskId } of lost) {
      await addEvent(taskId);
      await change(taskId, EXPIRED);
      note(`leased and expired ${taskId}`, taskId);
    }
    const nobodys = await leased();
    await change(nobodys.taskId, 'lease_token = NULL, lease_expires_at = NULL');
    note('running, and nobody runs it', nobodys.taskId, 'STATE_INVALID');

    const overdue = await leased();
    expect((await client.cancel(overdue.taskId)).status).toBe(202);
    await addEvent(overdue.taskId);
    note('not cancelled in time', overdue.taskId);

    const asked = await leased();
    expect((await worker.suspend(asked, question({ expiresAt: '2020-01-01T00:00:00Z' }))).status).toBe(200);
    // The reaper may be faster than the event. Then the question is over, and the test is void.
    const slow = await leased();
    const soon = new Date(Date.now() + 2_000).toISOString();
    expect((await worker.suspend(slow, question({ expiresAt: soon }))).status).toBe(200);
    await addEvent(slow.taskId);
    note('unanswered in time', slow.taskId);

    // The good ones, some of another owner, all behind the bad ones of their type.
    const good: [Client, string][] = [];
    for (let n = 0; n < GOOD; n += 1) {
      const by = n % 3 === 0 ? other : client;
      good.push([by, await created(n % 2 === 0 ? 'demo.echo' : waiting, {}, by)]);
    }
    for (const [what, { taskId }] of bad) {
      // What its row says is believed until somebody has to write to it.
      if (what !== 'over and waiting') readers.push(followSse(client.url, taskId, undefined, client.headers));
    }
    const goodLost: Lease[] = [];
    for (let n = 0; n < 5; n += 1) {
      const lease = await leased();
      await change(lease.taskId, EXPIRED);
      goodLost.push(lease);
    }

    const startedAt = Date.now();
    const held: Held[] = [];
    await eventually(
      'every good task of the type is claimed',
      async () => {
        const by = held.length % 2 === 0 ? worker : new WorkerClient(beside.url);
        const answer = await by.claim({ taskTypes: [waiting], maxTasks: 20, waitTimeoutMs: 500 });
        expect(answer.status).toBe(200);
        held.push(...answer.body.leases);
        return held.length >= GOOD / 2;
      },
      USUAL_MS,
    );
    for (const lease of held) expect((await worker.complete(lease)).status).toBe(200);
    for (const [by, taskId] of good) {
      await eventually('it is over', async () => (await snapshotOf(taskId, by)).status === 'COMPLETED', USUAL_MS);
    }
    for (const { taskId } of goodLost) {
      await eventually('it is tried again', async () => (await snapshotOf(taskId)).headEventId === '2', USUAL_MS);
    }
    await eventually(
      'the question of nobody is over',
      async () => (await snapshotOf(asked.taskId)).failure?.code === 'SUSPENSION_EXPIRED',
      USUAL_MS,
    );
    expect(Date.now() - startedAt).toBeLessThan(60_000);
    for (const [what, { taskId, code }] of bad) {
      expect({ what, code: await asideCodeOf(taskId) }).toEqual({ what, code });
    }
    const over = bad.get('over and waiting')?.taskId ?? '';
    readers.push(followSse(client.url, over, undefined, client.headers));
  }, 180_000);

  it('are shown by GET and in lists, and counted', async () => {
    const ids = [...bad.values()].map(({ taskId }) => taskId);
    const { rows } = await superuser.query<{ task_id: string }>(
      'SELECT task_id FROM taskbridge.proj_tasks WHERE aside_code IS NOT NULL',
    );
    expect(rows.map((row) => row.task_id).toSorted()).toEqual(ids.toSorted());
    const shown = new Map<string, unknown>();
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { body }: Answer<{ items: readonly AsideSnapshot[]; nextCursor: string | null }> = await beside.list({
        limit: '100',
        ...(cursor !== '' && { cursor }),
      });
      for (const { taskId, aside } of body.items) if (aside) shown.set(taskId, aside);
      cursor = body.nextCursor;
    }
    expect(shown).toEqual(new Map([...bad.values()].map(({ taskId, code }) => [taskId, { code }])));
    for (const { url } of services) {
      await eventually('it is counted', async () => (await Metrics.scrape(url)).of('tasks_aside') === bad.size);
    }
  });

  it('have one line of the log each, and the reaper none, nor is a replica less ready', async () => {
    const told = linesOf('task.set_aside').map(
      (line) => JSON.parse(line) as { taskId: string; code: string; level: string },
    );
    expect(told.map(({ taskId }) => taskId).toSorted()).toEqual(
      [...bad.values()].map(({ taskId }) => taskId).toSorted(),
    );
    for (const { taskId, code, level } of told) {
      const expected = [...bad.values()].find((one) => one.taskId === taskId)?.code;
      expect({ level, code }).toEqual({ level: 'error', code: expected });
    }
    for (const event of ['reaper.failed', 'reaper.recovered', 'inline_worker.claim_failed', 'claim_tasks.failed']) {
      expect({ event, lines: linesOf(event) }).toEqual({ event, lines: [] });
    }
    for (const { url } of services) {
      expect((await fetch(`${url}/ready`)).status).toBe(200);
      const metrics = await Metrics.scrape(url);
      for (const work of ['expired_leases', 'overdue_cancellations', 'expired_questions', 'unattended_tasks']) {
        expect(metrics.find('reaper_failing', { work })).toBe(0);
      }
    }
  });

  it('can be neither cancelled nor answered, and nothing finds them', async () => {
    for (const { taskId } of bad.values()) expectError(await client.cancel(taskId), 409, 'TASK_ASIDE');
    const asked = bad.get('unanswered in time')?.taskId ?? '';
    const { rows } = await superuser.query<{ suspend_id: string }>(
      'SELECT suspend_id FROM taskbridge.proj_suspensions WHERE task_id = $1',
      [asked],
    );
    const action = { clientActionId: 'a', suspendId: rows[0]?.suspend_id ?? '', actionType: 'approve' };
    expectError(await client.act(asked, action), 409, 'TASK_ASIDE');
    const found = await superuser.query(
      `SELECT FROM taskbridge.proj_tasks WHERE aside_code IS NOT NULL AND (claimable_at IS NOT NULL OR lease_token IS NOT NULL
         OR suspend_expires_at IS NOT NULL)`,
    );
    expect(found.rowCount).toBe(0);
  });

  it('have streams that stay open, and show nothing above the head', async () => {
    for (const reader of readers) {
      expect({
        ended: reader.outcome,
        events: reader.events.filter(({ raw }) => /progress|COMPLETED/i.test(raw)),
      }).toEqual({
        ended: undefined,
        events: [],
      });
    }
  });

  it('break no promise for the checker', async () => {
    expect(await checked()).toMatchObject({ code: 0, stderr: '' });
    expect(await findViolations(database.superuserUrl)).toEqual([]);
  });

  it('are repaired one by one: they go on or are over, their streams end, and the checker finds nothing', async () => {
    const outcomes = new Map<string, string>();
    for (const [what, { taskId }] of bad) {
      const { code, stdout, stderr } = await repair(taskId);
      expect({ what, code, stderr }).toEqual({ what, code: 0, stderr: '' });
      outcomes.set(what, stdout.trim().replace(/^task [0-9a-f-]{36}: /, ''));
    }
    expect(
      Object.fromEntries([...outcomes].map(([what, line]) => [what.replace(/ [0-9a-f-]{36}$/, ''), line])),
    ).toEqual({
      'waiting, an event at the head': 'ended as FAILED with NOT_REPAIRABLE, behind 1 event above its head',
      'waiting, a payload that is no object': 'ended as FAILED with NOT_REPAIRABLE, behind 1 event above its head',
      'waiting, an end': 'adopted 1 event above its head; it is over: COMPLETED',
      'waiting, an event of no known type': 'ended as FAILED with NOT_REPAIRABLE, behind 1 event above its head',
      'over and waiting': 'made anew from its log; it goes on',
      'accepted, with events': 'made anew from its log; it goes on',
      'running, without a first event': 'made anew from its log; it goes on',
      'with a last event below nothing': 'made anew from its log; it goes on',
      'waiting and leased': 'made anew from its log; it goes on',
      'waiting and suspended': 'made anew from its log; it goes on',
      'attempts that cannot be counted further': 'made anew from its log; it goes on',
      'leases that cannot be counted further': 'made anew from its log; it goes on',
      'revisions that cannot be counted further': 'made anew from its log; it goes on',
      'leased and expired': 'adopted 1 event above its head; it goes on',
      'running, and nobody runs it': 'made anew from its log; it goes on',
      'not cancelled in time': 'adopted 1 event above its head; it goes on',
      'unanswered in time': 'ended as FAILED with NOT_REPAIRABLE, behind 1 event above its head',
    });
    for (const { taskId } of bad.values()) expect((await snapshotOf(taskId)).aside).toBeUndefined();
    // Workers can claim those that continue.
    const over = async () => {
      const open = await Promise.all([...bad.values()].map(({ taskId }) => snapshotOf(taskId)));
      const going = open.filter(({ finishedAt }) => finishedAt === undefined);
      for (const { taskType } of going) {
        const { body } = await worker.claim({ taskTypes: [taskType], maxTasks: 10 });
        for (const lease of body.leases) await worker.complete(lease);
      }
      return going.length === 0;
    };
    await eventually('all of them are over', over, 60_000);
    for (const reader of readers) expect((await reader.end(USUAL_MS)).kind).toBe('end');
    expect(await checked()).toMatchObject({ code: 0, stderr: '' });
  }, 180_000);
});

describe('A row with a time that no calendar has', () => {
  it.each(['infinity', '-infinity'])('(%s) costs nobody a claim, a snapshot or a list', async (time) => {
    const owner = newPrincipal(client.url);
    const taskType = uniqueId('endless');
    const taskIds: string[] = [];
    for (let n = 0; n < 4; n += 1) taskIds.push(await created(taskType, {}, owner));
    await change(taskIds[1] ?? '', `created_at = '${time}'`);
    const claimed = await worker.claim({ taskTypes: [taskType], maxTasks: 10 });
    expect([claimed.status, claimed.body.leases.map(({ taskId }) => taskId).sort()]).toEqual([200, taskIds.sort()]);
    for (const taskId of taskIds) {
      await change(taskId, `started_at = '${time}'`);
      expect((await owner.snapshot(taskId)).status).toBe(200);
    }
    const list = await owner.list();
    expect([list.status, list.body.items.length]).toEqual([200, 4]);
  });
});

describe('A worker whose task cannot be written', () => {
  const CALLS: readonly [string, (held: Held) => Promise<Answer<unknown>>][] = [
    ['events', (held) => worker.events(held, 1, [message('x')])],
    ['heartbeat', (held) => worker.heartbeat(held)],
    ['suspend', (held) => worker.suspend(held)],
    ['complete', (held) => worker.complete(held)],
    ['fail', (held) => worker.fail(held, { retryable: true })],
    ['cancelled', (held) => worker.cancelled(held)],
    ['release', (held) => worker.release(held)],
  ];

  it.each(CALLS.filter(([name]) => name !== 'heartbeat'))(
    'learns it from the first %s, and from all after it',
    async (_, call) => {
      const lease = await leased();
      await addEvent(lease.taskId);
      expectError(await call(lease), 409, 'TASK_ASIDE');
      expect(await asideCodeOf(lease.taskId)).toBe('EVENT_ABOVE_HEAD');
      for (const [, other] of CALLS) expectError(await other(lease), 409, 'TASK_ASIDE');
      expect((await repair(lease.taskId)).code).toBe(0);
      await eventually(
        'the attempt is lost',
        async () => (await snapshotOf(lease.taskId)).headEventId === '3',
        USUAL_MS,
      );
      const { body } = await client.events(lease.taskId);
      expect(body.events.map(({ type }) => type)).toEqual(['TASK_STARTED', 'TASK_PROGRESS', 'TASK_RETRYING']);
      // The lease of before is over for good.
      expectError(await worker.complete(lease), 409, 'LEASE_LOST');
    },
  );

  it('keeps nobody else’s events from being stored in the same moment', async () => {
    const leases = await Promise.all(Array.from({ length: 30 }, () => leased()));
    const [first] = leases;
    if (first) await addEvent(first.taskId);
    const answers = await Promise.all(leases.map((lease) => worker.events(lease, 1, [message('x'), message('y')])));
    expect(answers.map(({ status }) => status)).toEqual([409, ...Array.from({ length: 29 }, () => 200)]);
    await Promise.all(leases.slice(1).map((lease) => worker.complete(lease)));
    expect((await repair(first?.taskId ?? '')).code).toBe(0);
  });

  it('is not sent away because of a request that PostgreSQL refuses', async () => {
    const lease = await leased();
    const refused = await worker.suspend(lease, question({ expiresAt: '+275760-09-13T00:00:00.001Z' }));
    expect(refused.status).toBeGreaterThanOrEqual(400);
    expect((await snapshotOf(lease.taskId)).aside).toBeUndefined();
    expect((await worker.complete(lease)).status).toBe(200);
  });
});

describe('PostgreSQL that gives up', () => {
  it('sets nothing aside: the task is ended when the lock is free', async () => {
    const lease = await leased();
    await change(lease.taskId, EXPIRED);
    const locker = new pg.Client({ connectionString: database.superuserUrl });
    await locker.connect();
    try {
      await locker.query('BEGIN');
      await locker.query('LOCK TABLE taskbridge.events IN ACCESS EXCLUSIVE MODE');
      const failing = async () => {
        const scrapes = await Promise.all(services.map(({ url }) => Metrics.scrape(url)));
        return scrapes.some((metrics) => metrics.of('reaper_failing', { work: 'expired_leases' }) === 1);
      };
      await eventually('the reaper fails, and says so', failing, 30_000);
      await locker.query('ROLLBACK');
    } finally {
      await locker.end();
    }
    await eventually('it is tried again', async () => (await snapshotOf(lease.taskId)).headEventId === '2', USUAL_MS);
    const recovered = async () => {
      const scrapes = await Promise.all(services.map(({ url }) => Metrics.scrape(url)));
      return scrapes.every((metrics) => metrics.of('reaper_failing') === 0);
    };
    await eventually('the reaper has recovered', recovered, USUAL_MS);
    const { rowCount } = await superuser.query('SELECT FROM taskbridge.proj_tasks WHERE aside_code IS NOT NULL');
    expect(rowCount).toBe(0);
    expect(linesOf('reaper.failed').length).toBe(linesOf('reaper.recovered').length);
  }, 90_000);
});

describe('What lies above the head', () => {
  it('is read by nobody: page, long-poll, SSE, WebSocket, snapshot, repeated batch', async () => {
    const lease = await leased();
    expect((await worker.events(lease, 1, [message('mine')])).status).toBe(200);
    // Further up, so that the task itself goes on; and of the batch that a worker may repeat.
    await superuser.query(
      `INSERT INTO taskbridge.events (task_id, event_id, type, payload, attempt, lease_number, batch_seq, correlation_id, principal_id)
       SELECT task_id, n, 'TASK_COMPLETED', '{"result":"forged"}', 1, 1, 1, correlation_id, 'somebody'
       FROM taskbridge.proj_tasks, generate_series(5, 9) n WHERE task_id = $1`,
      [lease.taskId],
    );
    const page = await client.events(lease.taskId, { waitTimeoutMs: '300' });
    expect(page.body).toMatchObject({ headEventId: '2', terminal: false, hasMore: false });
    expect(page.body.events).toHaveLength(2);
    const waited = await beside.events(lease.taskId, { afterEventId: '2', waitTimeoutMs: '1500' });
    expect(waited.body).toMatchObject({ events: [], headEventId: '2', terminal: false });
    expectError(await client.events(lease.taskId, { afterEventId: '5' }), 409, 'CURSOR_AHEAD');
    const readers = [followSse, followWebSocket].map((follow) => follow(client.url, lease.taskId, '1', client.headers));
    for (const reader of readers) await reader.waitFor(({ events }) => events.length === 1);
    const again = await worker.events(lease, 1, [message('mine')]);
    expect([again.status, again.body.eventIds]).toEqual([200, ['2']]);
    expect(await snapshotOf(lease.taskId)).toMatchObject({ status: 'RUNNING', headEventId: '2' });
    expect((await worker.complete(lease, 'mine')).status).toBe(200);
    for (const reader of readers) {
      await reader.end(USUAL_MS);
      expect(reader.events.map(({ eventId }) => eventId)).toEqual(['2', '3']);
    }
    expect((await snapshotOf(lease.taskId)).result).toBe('mine');
    expect((await client.events(lease.taskId)).body.events.map(({ eventId }) => eventId)).toEqual(['1', '2', '3']);
    await superuser.query('DELETE FROM taskbridge.events WHERE task_id = $1 AND event_id > 3', [lease.taskId]);
  });
});

describe('npm run repair', () => {
  async function asideWith(add: (lease: Lease) => Promise<unknown>): Promise<string> {
    const lease = await leased();
    await add(lease);
    expectError(await worker.complete(lease), 409, 'TASK_ASIDE');
    return lease.taskId;
  }
  const typesOf = async (taskId: string) => (await client.events(taskId)).body.events.map(({ type }) => type);

  it('fills what is missing below an event that is stored, and ends the task behind it', async () => {
    const taskId = await asideWith(async ({ taskId: id }) => {
      await addEvent(id);
      await addEvent(id, { type: 'TASK_MESSAGE', payload: '{"message":"far"}', above: 4 });
    });
    const { stdout } = await repair(taskId);
    expect(stdout).toMatch(/ended as FAILED with NOT_REPAIRABLE, behind 2 events/);
    expect(await typesOf(taskId)).toEqual([
      'TASK_STARTED',
      'TASK_PROGRESS',
      ...['TASK_MESSAGE', 'TASK_MESSAGE', 'TASK_MESSAGE'],
      'TASK_FAILED',
    ]);
    expect((await snapshotOf(taskId)).failure).toMatchObject({ code: 'NOT_REPAIRABLE', retryable: true });
  });

  it('names the event that is too far above the head to fill what is missing, and leaves it there', async () => {
    const taskId = await asideWith(async ({ taskId: id }) => {
      await addEvent(id);
      await addEvent(id, { type: 'TASK_MESSAGE', payload: '{"message":"far"}', above: 2_000 });
    });
    expect((await repair(taskId)).stdout).toMatch(
      /ended as FAILED with NOT_REPAIRABLE, behind 1 event above its head; event 2001 is too far above them and stays as it is\n$/,
    );
    expect(await typesOf(taskId)).toEqual(['TASK_STARTED', 'TASK_PROGRESS', 'TASK_FAILED']);
  });

  it('adopts a whole question, which can then be answered', async () => {
    const asked = {
      suspendId: 'q',
      kind: 'USER_ACTION_REQUIRED',
      reasonCode: 'R',
      allowedActions: ['go'],
      schemaVersion: 1,
    };
    const taskId = await asideWith(({ taskId: id }) =>
      addEvent(id, { type: 'TASK_SUSPENDED', payload: JSON.stringify(asked) }),
    );
    expect((await repair(taskId)).stdout).toMatch(/adopted 1 event above its head; it goes on/);
    expect((await snapshotOf(taskId)).openSuspension).toEqual(asked);
    const action = { clientActionId: 'a', suspendId: 'q', actionType: 'go' };
    expect((await client.act(taskId, action)).body.status).toBe('ACCEPTED');
    const { taskType } = await snapshotOf(taskId);
    expect((await worker.complete(await worker.lease(taskType))).status).toBe(200);
  });

  it('adopts an accepted action only with its receipt', async () => {
    const lease = await leased();
    expect((await worker.suspend(lease, question({ suspendId: 'q' }))).status).toBe(200);
    const payload = {
      suspendId: 'q',
      clientActionId: 'a',
      actionType: 'approve',
      acceptedAt: new Date().toISOString(),
    };
    await addEvent(lease.taskId, { type: 'TASK_ACTION_ACCEPTED', payload: JSON.stringify(payload) });
    expectError(await client.cancel(lease.taskId), 409, 'TASK_ASIDE');
    expect((await repair(lease.taskId)).stdout).toMatch(/ended as FAILED/);
  });

  it('holds a cancellation that came before', async () => {
    const lease = await leased();
    expect((await client.cancel(lease.taskId, { reason: 'enough' })).status).toBe(202);
    await addEvent(lease.taskId);
    await asideCodeOf(lease.taskId);
    expect((await repair(lease.taskId)).code).toBe(0);
    await eventually('it is over', async () => (await snapshotOf(lease.taskId)).status === 'CANCELLED', USUAL_MS);
  });

  it('says in one line what is wrong, and changes nothing', async () => {
    const { taskId } = await leased();
    const nobody = '01a20008-c848-7513-9292-28deaa2b6a3f';
    const owner = { MIGRATION_DATABASE_URL: database.ownerUrl };
    const refusals: [string, Promise<{ code: number; stdout: string; stderr: string }>, RegExp][] = [
      ['an unknown task', repair(nobody), /^task 01a2[^\n]+: there is no such task\n$/],
      ['a task that is not aside', repair(taskId), /^task [^\n]+: it is not set aside[^\n]*\n$/],
      ['no id', run(['dist/repair.js'], owner), /^--task: [^\n]+\n$/],
      ['a bad id', repair('4711'), /^--task: [^\n]+\n$/],
      ['an unknown option', run(['dist/repair.js', '--all'], owner), /^--task: [^\n]+\n$/],
      ['no connection', run(['dist/repair.js', '--task', nobody]), /^MIGRATION_DATABASE_URL: [^\n]+\n$/],
      [
        'no PostgreSQL',
        repair(nobody, { MIGRATION_DATABASE_URL: 'postgres://o@127.0.0.1:1/x', BOOT_WAIT_SECONDS: '0' }),
        /^MIGRATION_DATABASE_URL: [^\n]+\n$/,
      ],
      ['a role that may not', asRetention(), /^MIGRATION_DATABASE_URL: [^\n]+connect as the owner\n$/],
    ];
    for (const [what, refused, line] of refusals) {
      expect({ what, ...(await refused) }).toEqual({ what, code: 1, stdout: '', stderr: expect.stringMatching(line) });
    }
    expect(await snapshotOf(taskId)).toMatchObject({ status: 'RUNNING', headEventId: '1' });
  });

  async function asRetention() {
    const taskId = await asideWith(({ taskId: id }) => addEvent(id, { type: 'TASK_UNKNOWN' }));
    const url = database.appUrl.replace('taskbridge_app', 'taskbridge_retention');
    return repair(taskId, { MIGRATION_DATABASE_URL: url });
  }
});

describe('The embedded start', () => {
  it('survives a bad row, and goes on with everything that was running', async () => {
    const directory = await temporaryDirectory();
    const first = await startEmbedded(directory, {}, { deadlineMs: 60_000 });
    const owner = newPrincipal(first.url);
    const ids = await Promise.all(Array.from({ length: 4 }, () => created('demo.sleep', { ms: 600_000 }, owner)));
    for (const id of ids) {
      await eventually('it runs', async () => (await snapshotOf(id, owner)).status === 'RUNNING', USUAL_MS);
    }
    first.kill('SIGKILL');
    await first.exited;
    const [badId = '', ...goodIds] = ids;
    // Into the database of the service, while nobody serves it.
    const { startEmbeddedPostgres } = await import('../../src/database/embedded/embedded-postgres.js');
    const { join } = await import('node:path');
    const postgres = await startEmbeddedPostgres({ directory: join(directory, 'postgres'), durable: true });
    const db = new pg.Client({ connectionString: postgres.ownerUrl });
    await db.connect();
    await db.query(
      `INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
       SELECT task_id, head_event_id + 1, 'TASK_PROGRESS', '{"progress":1}', correlation_id, 'somebody'
       FROM taskbridge.proj_tasks WHERE task_id = $1`,
      [badId],
    );
    await db.end();
    await postgres.stop();

    const second = await startEmbedded(directory, {}, { deadlineMs: 60_000 });
    const again = new Client(second.url, owner.principal);
    expect((await snapshotOf(badId, again)).aside).toEqual({ code: 'EVENT_ABOVE_HEAD' });
    for (const id of goodIds) {
      await eventually('it runs again', async () => (await snapshotOf(id, again)).attempt === 2, USUAL_MS);
    }
    await second.stop();
  }, 180_000);
});
