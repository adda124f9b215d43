import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { nextAfter, problemOf } from '../../src/schedules/clock-times.js';
import { RunSchedules } from '../../src/schedules/run-schedules.js';
import { ClaimTasks } from '../../src/tasks/claim-tasks.js';
import { type Client, expectError, expectFieldErrors, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants } from '../support/fold.js';
import { Metrics } from '../support/metrics.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { createReplica, type Replica } from '../support/replica.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';

const full = process.env['FULL'] === '1';
const MINUTE = 60_000;

/** Lets everybody create while the file is there. */
const HOST = (file: string) => `
  import { existsSync } from 'node:fs';
  import { OwnershipPolicy } from 'taskbridge';
  class WhileThere extends OwnershipPolicy {
    mayCreate({ subject, scopes }) { return existsSync(${JSON.stringify(file)}) && scopes.has('tasks:write') && subject !== ''; }
    mayRead({ subject }, { ownerId }) { return subject === ownerId; }
    mayControl({ subject }, { ownerId }) { return subject === ownerId; }
  }
  export default { module: class Host {}, providers: [{ provide: OwnershipPolicy, useClass: WhileThere }] };`;

interface Schedule {
  readonly name: string;
  readonly nextAt: string | null;
  readonly lastAt?: string;
  readonly lastTaskId?: string;
  readonly lastSkip?: string;
}

let database: TestDatabase;
let superuser: pg.Client;
let service: Service;
let replicas: readonly Replica[];
let client: Client;
/** While it is there, principals may create. */
let permission: string;

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  const directory = await temporaryDirectory();
  permission = join(directory, 'permission');
  await writeFile(permission, '');
  await writeFile(join(directory, 'host.mjs'), HOST(permission));
  const TASK_TYPES = JSON.stringify({ 'demo.echo': { inputSchema: { properties: { n: { type: 'integer' } } } } });
  const env = { DATABASE_URL: database.appUrl, HOST_MODULE: join(directory, 'host.mjs'), TASK_TYPES };
  service = await startService(env, { lifetime: 'file' });
  // Nothing starts their clocks: the tests are their clocks.
  const handlers = { 'clock.task': async () => null };
  replicas = await Promise.all([0, 1].map(() => createReplica(database.appUrl, { handlers, env: { TASK_TYPES } })));
  client = newPrincipal(service.url);
});

afterAll(async () => {
  await checkInvariants(database.superuserUrl);
  await service.stop();
  await Promise.all(replicas.map((replica) => replica.stop()));
  await superuser.end();
  await database.drop();
});

const put = (name: string, more: object = {}, by = client) =>
  by.request<Schedule>('PUT', `/api/v1/schedules/${name}`, {
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ cron: '0 0 1 1 *', timeZone: 'UTC', taskType: 'demo.greet', ...more }),
  });
const read = async (name: string) => (await client.request<Schedule>('GET', `/api/v1/schedules/${name}`)).body;
const dueNow = (name: string) =>
  superuser.query(
    'UPDATE taskbridge.proj_schedules SET next_at = clock_timestamp() WHERE owner_id = $1 AND name = $2',
    [client.principal, name],
  );

describe('A schedule', () => {
  it('is made, replaced, read, listed and deleted by its owner alone', async () => {
    const made = await put('nightly', { cron: '30 2 * * *', timeZone: 'Europe/Berlin', input: { name: 'Ada' } });
    expect(made).toMatchObject({
      status: 201,
      body: { name: 'nightly', overlap: 'skip', catchUp: 0, input: { name: 'Ada' }, metadata: {} },
    });
    expect(made.body.nextAt).toMatch(/T0[01]:30:00\.000Z$/);
    const replaced = await put('nightly', { cron: '0 3 * * *', timeZone: 'UTC', overlap: 'queue', catchUp: 5 });
    expect(replaced).toMatchObject({ status: 200, body: { overlap: 'queue', catchUp: 5, input: {} } });
    expect(replaced.body.nextAt).toMatch(/T03:00:00\.000Z$/);
    expect(await read('nightly')).toEqual(replaced.body);
    await put('another');
    const list = await client.request<{ items: Schedule[] }>('GET', '/api/v1/schedules');
    expect(list.body.items.map(({ name }) => name)).toEqual(['another', 'nightly']);
    const stranger = newPrincipal(service.url);
    for (const method of ['GET', 'DELETE'])
      expectError(await stranger.request(method, '/api/v1/schedules/nightly'), 404, 'NOT_FOUND');
    expect((await client.request('DELETE', '/api/v1/schedules/another')).status).toBe(204);
    expectError(await client.request('DELETE', '/api/v1/schedules/another'), 404, 'NOT_FOUND');
    for (const name of ['a%20b', '.a', '..a'])
      expectError(await client.request('GET', `/api/v1/schedules/${name}`), 400, 'INVALID_REQUEST');
  });

  it.each<[string, object, string]>([
    ['a pattern of six parts', { cron: '* * * * * *' }, 'cron'],
    ['a pattern that is none', { cron: 'sometimes' }, 'cron'],
    ...[
      ...['@daily', '0 0 L * *', '0 0 * * 5L', '0 0 * * 5#3', '0 0 15W * *', '? ? * * ?', '0/15 * * * *'],
      '1,,2 * * * *',
    ].map((cron): [string, object, string] => [`the pattern ${cron}`, { cron }, 'cron']),
    ['two spaces between parts', { cron: '0 0  1 1 *' }, 'cron'],
    ['an offset for a time zone', { timeZone: '+01:00' }, 'timeZone'],
    ['a pattern that never comes', { cron: '0 0 30 2 *' }, 'cron'],
    ['a time zone that is none', { timeZone: 'Mars/Olympus' }, 'timeZone'],
    ['a type without an executor', { taskType: 'nobody.knows' }, 'taskType'],
    ['an overlap that is none', { overlap: 'both' }, 'overlap'],
    ['a catch-up without a bound', { catchUp: 101 }, 'catchUp'],
    ['a member that is unknown', { every: 'day' }, 'every'],
    ['an input that its type refuses', { taskType: 'demo.echo', input: { n: 'one' } }, 'input.n'],
    ['a pause that is none', { paused: 'yes' }, 'paused'],
  ])('is refused with %s', async (_, more, path) => {
    expect(expectFieldErrors(await put('refused', more)).map((error) => error.path)).toContain(path);
  });

  it('has the ids of its ticks for itself', async () => {
    const body = { clientRequestId: 'schedule:nightly:2026', taskType: 'demo.greet' };
    expect(expectFieldErrors(await client.create(body))).toMatchObject([{ path: 'clientRequestId' }]);
    const byKey = await client.create({ taskType: 'demo.greet' }, { 'Idempotency-Key': 'schedule:x' });
    expect(expectFieldErrors(byKey)).toMatchObject([{ path: 'clientRequestId' }]);
  });

  it('is one of a hundred at most', async () => {
    const many = newPrincipal(service.url);
    const answers = await Promise.all(Array.from({ length: 110 }, (_, i) => put(`at-once-${i}`, {}, many)));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(100);
    const list = await many.request<{ items: Schedule[] }>('GET', '/api/v1/schedules');
    expect(list.body.items).toHaveLength(100);
    const name = list.body.items[5]?.name ?? '';
    expectError(await put('s100', {}, many), 429, 'TOO_MANY_REQUESTS');
    expect((await put(name, { catchUp: 1 }, many)).status).toBe(200);
  });
});

describe('The times of a schedule', () => {
  function ticks(cron: string, from: string, count: number): readonly string[] {
    const found: string[] = [];
    for (let at: Date | null = new Date(from); at && found.length < count; ) {
      at = nextAfter({ cron, timeZone: 'Europe/Berlin' }, at);
      if (at) found.push(at.toISOString().slice(0, 16));
    }
    return found;
  }

  it('may be written with steps, ranges, lists and names', () => {
    for (const cron of ['*/15 * * * *', '0 8-18/2 * * mon-FRI', '0,30 0 1,15 jan,Jul *', '0 0 * * 7'])
      expect(problemOf({ cron, timeZone: 'Europe/Berlin' })).toBeUndefined();
    const fridays = ['2026-03-05T23:00', '2026-03-12T23:00', '2026-03-19T23:00'];
    expect(ticks('0 0 13 * FRI', '2026-03-01T00:00:00Z', 3)).toEqual(fridays);
    expect(ticks('0 0 10 * FRI', '2026-03-06T00:00:00Z', 2)).toEqual(['2026-03-09T23:00', '2026-03-12T23:00']);
  });

  it('that the clock skips come at the change', () => {
    const daily = ['2026-03-28T01:30', '2026-03-29T01:00', '2026-03-30T00:30'];
    expect(ticks('30 2 * * *', '2026-03-28T00:00:00Z', 3)).toEqual(daily);
    const hourly = ['2026-03-29T00:00', '2026-03-29T01:00', '2026-03-29T02:00'];
    expect(ticks('0 * * * *', '2026-03-28T23:30:00Z', 3)).toEqual(hourly);
  });

  it('that come twice count once a day, and each hour', () => {
    const daily = ['2026-10-24T00:30', '2026-10-25T00:30', '2026-10-26T01:30'];
    expect(ticks('30 2 * * *', '2026-10-24T00:00:00Z', 3)).toEqual(daily);
    const hourly = ['2026-10-25T00:00', '2026-10-25T01:00', '2026-10-25T02:00'];
    expect(ticks('0 * * * *', '2026-10-24T23:30:00Z', 3)).toEqual(hourly);
  });

  it('cost little to judge, whatever they are', () => {
    for (const cron of ['0 0 30 2 *', '0 0 29 2 1#5', '* * * * *', '0 0 31 2,4,6 *', `${'1,'.repeat(45)}1 * * * *`]) {
      const begun = performance.now();
      problemOf({ cron, timeZone: 'Pacific/Apia' });
      expect([cron, performance.now() - begun < 500]).toEqual([cron, true]);
    }
  });
});

describe('By the clock of the tests', () => {
  /** Both replicas look at the same time. */
  const at = (time: Date) => Promise.all(replicas.map((replica) => replica.get(RunSchedules).execute(time)));
  // The clock of the service never gets there.
  const start = new Date('2100-03-01T12:00:00Z');
  const later = (minutes: number) => new Date(start.getTime() + minutes * MINUTE);

  interface Times {
    readonly cron?: string;
    readonly timeZone?: string;
    readonly overlap?: string;
    readonly catchUp?: number;
  }

  /** The only schedule, of an owner with the same name, which is due at this time. */
  async function scheduled(name: string, nextAt: Date, more: Times = {}): Promise<void> {
    await superuser.query("DELETE FROM taskbridge.proj_schedules WHERE task_type = 'clock.task'");
    const { cron = '* * * * *', timeZone = 'UTC', overlap = 'skip', catchUp = 0 } = more;
    const principal = { subject: name, scopes: ['tasks:write'], attributes: {} };
    await superuser.query(
      `INSERT INTO taskbridge.proj_schedules (tenant_id, owner_id, name, cron, time_zone, task_type, overlap, catch_up, principal, next_at)
       VALUES ('', $1, $1, $2, $3, 'clock.task', $4, $5, $6, $7)`,
      [name, cron, timeZone, overlap, catchUp, principal, nextAt],
    );
  }

  /** The ticks that made a task, in minutes. */
  async function made(name: string): Promise<readonly string[]> {
    const { rows } = await superuser.query<{ id: string }>(
      'SELECT client_request_id AS id FROM taskbridge.proj_tasks WHERE owner_id = $1 ORDER BY 1',
      [name],
    );
    return rows.map(({ id }) => id.slice(`schedule:${name}:`.length, -':00.000Z'.length));
  }

  async function stateOf(name: string) {
    const { rows } = await superuser.query<{ next_at: Date; last_skip: string | null; last_task_id: string }>(
      'SELECT next_at, last_skip, last_task_id FROM taskbridge.proj_schedules WHERE name = $1',
      [name],
    );
    if (!rows[0]) throw new Error(`there is no schedule ${name}`);
    return rows[0];
  }

  /** The tasks are over, and removed. */
  const removed = () => superuser.query("DELETE FROM taskbridge.proj_tasks WHERE task_type = 'clock.task'");

  it(
    `a day of ticks makes one task each, whatever replicas there are`,
    async () => {
      const name = uniqueId('day');
      await scheduled(name, start, { overlap: 'cancel_previous' });
      const count = full ? 1_440 : 60;
      for (let minute = 0; minute < count; minute += 1) await Promise.all([at(later(minute)), at(later(minute))]);
      const ids = await made(name);
      expect(ids).toHaveLength(count);
      expect(new Set(ids).size).toBe(count);
      expect(ids.at(-1)).toBe(
        later(count - 1)
          .toISOString()
          .slice(0, 16),
      );
    },
    full ? 600_000 : 60_000,
  );

  it('a tick is not passed over where more than a page of others is due', async () => {
    const name = uniqueId('last');
    await scheduled(name, later(1));
    await superuser.query(
      `INSERT INTO taskbridge.proj_schedules (tenant_id, owner_id, name, cron, time_zone, task_type, overlap, principal, next_at)
       SELECT '', $1, 'other-' || n, '0 0 1 1 *', 'UTC', 'clock.task', 'skip', $2, $3 FROM generate_series(1, 150) n`,
      [name, { subject: name, scopes: ['tasks:write'], attributes: {} }, later(0)],
    );
    await replicas[0]?.get(RunSchedules).execute(later(1));
    expect(await made(name)).toContain('2100-03-01T12:01');
  });

  it('a tick does not come before its time', async () => {
    const name = uniqueId('early');
    await scheduled(name, later(5));
    await at(later(4.99));
    expect(await made(name)).toEqual([]);
    await at(later(5));
    expect(await made(name)).toEqual(['2100-03-01T12:05']);
  });

  it('a daily one comes once on each day, also when the clock changes', async () => {
    const name = uniqueId('year');
    const times = { cron: '30 2 * * *', timeZone: 'Europe/Berlin' };
    let day = nextAfter(times, new Date('2100-03-10T00:00:00Z'));
    await scheduled(name, day ?? start, { ...times, overlap: 'cancel_previous' });
    const days = full ? 366 : 30;
    for (let n = 0; n < days && day; n += 1) {
      await at(day);
      day = nextAfter(times, day);
    }
    const dates = (await made(name)).map((tick) => tick.slice(0, 10));
    expect(new Set(dates).size).toBe(days);
  }, 120_000);

  it('while a task is not over, skip makes none', async () => {
    const name = uniqueId('skip');
    await scheduled(name, start);
    for (const minute of [0, 1, 2]) await at(later(minute));
    expect(await made(name)).toEqual(['2100-03-01T12:00']);
    expect((await stateOf(name)).last_skip).toBe('overlap');
    await removed();
    await at(later(3));
    expect(await made(name)).toEqual(['2100-03-01T12:03']);
  });

  it('queue makes one afterwards, and not one for each tick that came meanwhile', async () => {
    const name = uniqueId('queue');
    await scheduled(name, start, { overlap: 'queue' });
    for (let minute = 0; minute < 10; minute += 1) await at(later(minute));
    expect(await made(name)).toEqual(['2100-03-01T12:00']);
    expect(await stateOf(name)).toMatchObject({ last_skip: 'queued', next_at: later(1) });
    await removed();
    for (let look = 0; look < 5; look += 1) await at(later(10 + look / 10));
    expect(await made(name)).toEqual(['2100-03-01T12:01']);
    expect(await stateOf(name)).toMatchObject({ last_skip: 'queued', next_at: later(10) });
  });

  it('cancel_previous asks it to end, and makes the new one', async () => {
    const name = uniqueId('cancel');
    await scheduled(name, start, { overlap: 'cancel_previous' });
    await at(start);
    const first = (await stateOf(name)).last_task_id;
    await at(later(1));
    const { rows } = await superuser.query(
      'SELECT status, cancel_reason FROM taskbridge.proj_tasks WHERE task_id = $1',
      [first],
    );
    expect(rows).toEqual([{ status: 'CANCELLED', cancel_reason: 'schedule' }]);
    expect(await made(name)).toEqual(['2100-03-01T12:00', '2100-03-01T12:01']);
    // One that runs has its time to obey.
    const claims = replicas[0]?.get(ClaimTasks);
    const [lease] = (await claims?.execute({ workerId: 'w', principalId: 'p' }, ['clock.task'], 1)) ?? [];
    expect(lease).toBeDefined();
    await at(later(2));
    expect(await made(name)).toHaveLength(3);
    await removed();
  });

  it.each([
    [0, []],
    [1, ['2100-03-01T14:00']],
    [2, ['2100-03-01T13:00', '2100-03-01T14:00']],
    [100, ['2100-03-01T12:00', '2100-03-01T13:00', '2100-03-01T14:00']],
  ])('of missed ticks the newest %d are made up', async (catchUp, expected) => {
    const name = uniqueId('missed');
    await scheduled(name, start, { cron: '0 * * * *', overlap: 'cancel_previous', catchUp });
    for (let look = 0; look < 8; look += 1) await at(later(150));
    expect(await made(name)).toEqual(expected);
    expect((await stateOf(name)).next_at).toEqual(later(180));
    await at(later(180));
    expect(await made(name)).toEqual([...expected, '2100-03-01T15:00']);
    await removed();
  });

  it('a year of missed minutes costs one look', async () => {
    const name = uniqueId('year');
    await scheduled(name, start, { catchUp: 3, overlap: 'cancel_previous' });
    const begun = performance.now();
    await at(later(525_600));
    expect(performance.now() - begun).toBeLessThan(2_000);
    for (let look = 0; look < 10; look += 1) await at(later(525_600));
    expect((await made(name)).length).toBeLessThan(6);
    expect((await stateOf(name)).next_at).toEqual(later(525_601));
  });

  it('a tick that is late by less than a minute is not missed', async () => {
    const name = uniqueId('late');
    await scheduled(name, start, { cron: '0 * * * *' });
    await at(new Date(start.getTime() + 59_000));
    expect(await made(name)).toEqual(['2100-03-01T12:00']);
  });
});

describe('By the clock of the database', () => {
  it('a due tick makes its task for its owner', async () => {
    await put('soon', { input: { name: 'Ada' } });
    await dueNow('soon');
    const { lastTaskId = '' } = await eventually('it is made', async () => {
      const schedule = await read('soon');
      return schedule.lastTaskId !== undefined && schedule;
    });
    const task = await eventually('it is over', async () => {
      const { body } = await client.snapshot(lastTaskId);
      return body.status === 'COMPLETED' && body;
    });
    expect(task).toMatchObject({ result: { greeting: 'Hello, Ada!' } });
    expect(task.clientRequestId).toMatch(/^schedule:soon:2\d{3}-/);
  });

  it('the policy of the deployment is asked at each tick, for the principal that made the schedule', async () => {
    await put('judged');
    await rm(permission);
    await dueNow('judged');
    const skipped = await eventually('the tick makes none', async () => {
      const schedule = await read('judged');
      return schedule.lastSkip !== undefined && schedule;
    });
    expect(skipped).toMatchObject({ lastSkip: 'forbidden', nextAt: expect.stringMatching(/-01-01T00:00:00/) });
    expect(skipped.lastTaskId).toBeUndefined();
    expectError(await put('another'), 403, 'TASK_OWNERSHIP_ERROR');
    await writeFile(permission, '');
    await dueNow('judged');
    await eventually('the next one makes one', async () => (await read('judged')).lastTaskId);
  });

  it('says when its input fits no more: to its owner, in the log and in a metric', async () => {
    await put('strict', { taskType: 'demo.echo', input: { n: 1 } });
    const metrics = { outcome: 'invalid_input' };
    expect((await Metrics.scrape(service.url)).find('schedule_ticks_total', metrics)).toBeUndefined();
    // The same as a schema that changed meanwhile.
    await superuser.query('UPDATE taskbridge.proj_schedules SET input = \'{"n":"one"}\' WHERE name = \'strict\'');
    await dueNow('strict');
    const skipped = await eventually('the tick makes none', async () => {
      const schedule = await read('strict');
      return schedule.lastSkip !== undefined && schedule;
    });
    expect(skipped).toMatchObject({ lastSkip: 'invalid_input', nextAt: expect.stringMatching(/-01-01T00:00:00/) });
    expect(skipped.lastTaskId).toBeUndefined();
    expect((await Metrics.scrape(service.url)).of('schedule_ticks_total', metrics)).toBe(1);
    const line = service
      .stdout()
      .split('\n')
      .find((text) => text.includes('schedules.refused') && text.includes('"strict"'));
    expect(JSON.parse(line ?? '{}')).toMatchObject({
      ownerId: client.principal,
      name: 'strict',
      outcome: 'invalid_input',
    });
    await put('strict', { taskType: 'demo.echo', input: { n: 2 } });
    await dueNow('strict');
    await eventually('the next one makes one', async () => (await read('strict')).lastTaskId);
  });

  it('has no ticks while it is paused, and makes up none of them', async () => {
    const every = { cron: '* * * * *', catchUp: 100 };
    expect((await put('paused', { ...every, paused: true })).body).toMatchObject({ paused: true, nextAt: null });
    await delay(1_500);
    expect((await read('paused')).lastTaskId).toBeUndefined();
    const resumed = (await put('paused', every)).body;
    expect(resumed).toMatchObject({ paused: false, nextAt: expect.any(String) });
    // It was due while nobody paused it.
    await dueNow('paused');
    await superuser.query(
      "UPDATE taskbridge.proj_schedules SET next_at = next_at - interval '1 hour', paused_at = now() WHERE name = 'paused'",
    );
    const later = (await put('paused', every)).body;
    expect(new Date(later.nextAt ?? 0).getTime()).toBeGreaterThan(Date.now() - 1_000);
    expect(later.lastSkip).toBeUndefined();
    await put('paused', { ...every, paused: true });
    const { rows } = await superuser.query(
      "SELECT count(*)::int AS n FROM taskbridge.proj_tasks WHERE client_request_id LIKE 'schedule:paused:%'",
    );
    expect(rows[0].n).toBeLessThanOrEqual(1);
  });

  it('each minute makes a task', async () => {
    const minutes = full ? 2 : 1;
    await put('minutes', { cron: '* * * * *', overlap: 'queue' });
    const first = new Date((await read('minutes')).nextAt ?? '').getTime();
    await delay(first - Date.now() + (minutes - 1) * MINUTE + 3_000);
    const { items } = (await client.list({ taskType: 'demo.greet' })).body;
    const made = items.filter(({ clientRequestId }) => clientRequestId.startsWith('schedule:minutes:'));
    expect(made).toHaveLength(minutes);
  }, 180_000);
});
