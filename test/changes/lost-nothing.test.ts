import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { check } from '../support/checker.js';
import { Client, newPrincipal, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { FEED_READERS, type FeedReader, PollingReader, SseReader } from '../support/follow-changes.js';
import { createTestDatabase, startTestCluster, type TestCluster, type TestDatabase } from '../support/postgres.js';
import { PostgresProxy } from '../support/postgres-proxy.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { eventually, type Service, startService } from '../support/service.js';
import { migrate } from '../../src/database/migrations/apply-migrations.js';

const FOLLOWERS = process.env['FULL'] === '1' ? 1_000 : 60;
/** Tasks of one owner. */
const MANY = process.env['FULL'] === '1' ? 1_000_000 : 20_000;
/** A hint and two queries. The goal is that of an idle machine; the rounds without hints take a second. */
const AT_ONCE_MS = process.env['FULL'] === '1' ? 100 : 400;

async function waiting(client: Client, members: object = {}): Promise<string> {
  const answer = await client.create({ clientRequestId: uniqueId(), taskType: 'nobody.claims', ...members });
  expect(answer.status).toBe(201);
  return answer.body.taskId;
}

type Page = { changes: readonly { task: { taskId: string; status: string } }[]; next: string };

const pageAfter = (client: Client, cursor: string) =>
  client.request<Page>('GET', `/api/v1/tasks/changes?waitTimeoutMs=0&after=${cursor}`);
const cursorOf = async (client: Client) => (await pageAfter(client, '')).body.next;

async function following(client: Client, url = client.url): Promise<FeedReader> {
  const reader = new SseReader(url, client.headers);
  await reader.connect();
  return reader;
}

describe('No change is lost, and none comes before its commit', () => {
  let cluster: TestCluster;
  let proxy: PostgresProxy;
  let writer: Service;
  let reader: Service;
  const name = 'feeds';

  beforeAll(async () => {
    cluster = await startTestCluster();
    await connected(cluster.superuserUrl('postgres'), (db) =>
      db.query('ALTER SYSTEM SET max_prepared_transactions = 4'),
    );
    await cluster.crash();
    await cluster.createDatabase(name);
    await cluster.createDatabase('another');
    await migrate(cluster.ownerUrl(name));
    proxy = await PostgresProxy.start(cluster.appUrl(name));
    const env = { EXECUTOR: 'worker', WORKER_TOKENS: uniqueId('token'), OPEN_TASKS_PER_PRINCIPAL: '0' };
    [writer, reader] = await Promise.all([
      startService({ ...env, DATABASE_URL: proxy.url }, { lifetime: 'file' }),
      startService({ ...env, DATABASE_URL: cluster.appUrl(name) }, { lifetime: 'file' }),
    ]);
  }, 180_000);
  afterAll(async () => {
    await Promise.all([writer.stop(), reader.stop()]);
    await proxy.close();
    await cluster.stop();
  });

  const inDatabase = <T>(use: (db: pg.Client) => Promise<T>, database = name) =>
    connected(cluster.superuserUrl(database), use);
  const touch = (db: pg.Client, taskId: string) =>
    db.query(`UPDATE taskbridge.proj_tasks SET cancel_requested_at = clock_timestamp() WHERE task_id = $1`, [taskId]);

  it('while a COMMIT is held: others come, and it comes when it is committed', async () => {
    const client = newPrincipal(reader.url);
    const [held, free] = [await waiting(client), await waiting(client)];
    const feed = await following(client);
    const hold = proxy.holdCommit(({ parameters }) => parameters.includes(held));
    const cancelling = new Client(writer.url, client.principal).cancel(held);
    await hold.held;
    try {
      await client.cancel(free);
      await feed.until('the other one comes', () => feed.states[free] === 'CANCELLED', 5_000);
      // Pages after that one have passed the id of the held transaction.
      const third = await waiting(client);
      await feed.until('a third comes', () => feed.states[third] === 'ACCEPTED', 5_000);
      expect(feed.of(held)).toEqual([]);
    } finally {
      hold.release();
    }
    await cancelling;
    await feed.until('the held one comes', () => feed.states[held] === 'CANCELLED', 5_000);
    feed.drop();
  });

  it('while a transaction of another database writes and does not end', async () => {
    const client = newPrincipal(reader.url);
    await inDatabase(async (db) => {
      await db.query('BEGIN; SELECT pg_current_xact_id()');
      const feed = await following(client);
      const tasks = [await waiting(client), await waiting(client)];
      await feed.until('both come', () => tasks.every((taskId) => taskId in feed.states), 5_000);
      await feed.resume();
      const later = await waiting(client);
      await feed.until('a later one comes', () => later in feed.states, 5_000);
      expect(feed.of(tasks[0] ?? '')).toHaveLength(1);
      feed.drop();
      await db.query('ROLLBACK');
    }, 'another');
  });

  it('after a prepared transaction was committed, also for a reader that came between', async () => {
    const client = newPrincipal(reader.url);
    const taskId = await waiting(client);
    const feed = await following(client);
    await inDatabase(async (db) => {
      await db.query('BEGIN');
      await touch(db, taskId);
      await db.query(`PREPARE TRANSACTION 'held'`);
    });
    const between = await following(client);
    const other = await waiting(client);
    for (const one of [feed, between]) await one.until('another comes', () => other in one.states, 5_000);
    for (const one of [feed, between]) expect(one.of(taskId)).toEqual([]);
    await inDatabase((db) => db.query(`COMMIT PREPARED 'held'`));
    for (const one of [feed, between]) {
      await one.until('it comes', () => one.of(taskId).at(-1)?.task?.['cancellationRequested'] === true, 5_000);
      one.drop();
    }
  });

  it('with more open transactions than a cursor names', async () => {
    const client = newPrincipal(reader.url);
    const tasks = await Promise.all(Array.from({ length: 80 }, () => waiting(client)));
    const sessions = await Promise.all(
      tasks.map(async (taskId) => {
        const db = new pg.Client({ connectionString: cluster.superuserUrl(name) });
        await db.connect();
        await db.query('BEGIN');
        await touch(db, taskId);
        return db;
      }),
    );
    const feed = await following(client);
    const poll = new PollingReader(client.url, client.headers, {}, feed.cursor);
    await poll.connect();
    const other = await waiting(client);
    for (const one of [feed, poll]) {
      await one.until('another comes', () => other in one.states, 5_000);
      expect(one.cursor?.length).toBeLessThanOrEqual(1_024);
      expect(Object.keys(one.states)).toEqual([other]);
    }
    for (const [n, db] of sessions.entries()) {
      await db.query(n % 4 === 3 ? 'ROLLBACK' : 'COMMIT');
      await db.end();
    }
    const committed = tasks.filter((_, n) => n % 4 !== 3);
    for (const one of [feed, poll]) {
      await one.until('all of them come', () => committed.every((taskId) => taskId in one.states), 8_000);
      expect(Object.keys(one.states).sort()).toEqual([other, ...committed].sort());
      one.drop();
    }
  }, 60_000);

  it('in the middle of pages, while the tasks go on changing', async () => {
    const client = newPrincipal(reader.url);
    const start = await cursorOf(client);
    const tasks = await Promise.all(Array.from({ length: 300 }, () => waiting(client)));
    let cursor = start;
    const states = new Map<string, string>();
    for (let page = 0; page < 40; page++) {
      const { body } = await pageAfter(client, cursor);
      for (const { task } of body.changes) states.set(task.taskId, task.status);
      cursor = body.next;
      // Those that were on their way, and those that had come.
      const some = tasks.slice(page * 8, page * 8 + 8);
      await Promise.all(
        [...some, ...some.map((_, n) => tasks.at(-1 - n) ?? '')].map((taskId) => client.cancel(taskId)),
      );
    }
    for (let isOver = false; !isOver; ) {
      const { body } = await pageAfter(client, cursor);
      for (const { task } of body.changes) states.set(task.taskId, task.status);
      isOver = body.changes.length === 0;
      cursor = body.next;
    }
    expect([...states.values()].filter((status) => status !== 'CANCELLED')).toEqual([]);
    expect(states.size).toBe(300);
  }, 60_000);

  it(`of ${MANY} tasks of one owner, at once and from a cursor before all of them`, async () => {
    const client = newPrincipal(reader.url);
    const start = await cursorOf(client);
    await inDatabase((db) =>
      db.query(`DO $$ BEGIN FOR n IN 1..${MANY / 1_000} LOOP
        INSERT INTO taskbridge.proj_tasks
            (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, correlation_id, claimable_at)
          SELECT gen_random_uuid(), '', '${client.principal}', n || '.' || m, 'f', 'nobody.claims', gen_random_uuid(),
            now() + interval '1 day'
          FROM generate_series(1, 1000) AS m;
        COMMIT;
      END LOOP; END $$`),
    );
    await inDatabase((db) => db.query('VACUUM ANALYZE taskbridge.proj_tasks'));
    const present = await cursorOf(client);
    const feed = new SseReader(reader.url, client.headers, {}, present);
    await feed.connect();
    const took: number[] = [];
    for (let n = 0; n < 20; n++) {
      const startedAt = performance.now();
      const taskId = await waiting(client);
      await feed.until('it comes', () => taskId in feed.states, 5_000);
      took.push(performance.now() - startedAt);
    }
    expect(feed.changes).toHaveLength(20);
    feed.drop();
    took.sort((a, b) => a - b);
    expect(took[10]).toBeLessThan(AT_ONCE_MS);
    const seen = new Set<string>();
    const startedAt = performance.now();
    for (let [cursor, isLast] = [start, false]; !isLast; ) {
      const { body } = await pageAfter(client, cursor);
      for (const { task } of body.changes) seen.add(task.taskId);
      isLast = body.changes.length === 0;
      cursor = body.next;
    }
    const seconds = (performance.now() - startedAt) / 1_000;
    console.log(
      `${MANY} tasks: a change after ${Math.round(took[10] ?? 0)} ms, all of them in ${seconds.toFixed(1)} s`,
    );
    expect(seen.size).toBe(MANY + 20);
  }, 900_000);

  it('without Redis: one query a second finds the changes of all followers', async () => {
    const clients = Array.from({ length: 20 }, () => newPrincipal(writer.url));
    const feeds = await Promise.all(clients.map((client) => following(client)));
    const operator = new Client(writer.url);
    await delay(1_500);
    const asks = ({ sql }: { sql: string }) => /proj_tasks c\b/.test(sql) || /AS page ON|\bpage AS \(/.test(sql);
    const before = proxy.trips.filter(asks).length;
    await delay(4_000);
    const quiet = proxy.trips.filter(asks).length - before;
    expect(quiet).toBeGreaterThanOrEqual(2);
    expect(quiet).toBeLessThanOrEqual(5);
    const wide = [{ all: true }, { tenant: '' }].map((scope) => new SseReader(operator.url, operator.headers, scope));
    for (const one of wide) await one.connect();
    const startedAt = performance.now();
    // Stored by the other replica, which gives no hint to this one.
    const tasks = await Promise.all(clients.map((client) => waiting(new Client(reader.url, client.principal))));
    for (const [n, feed] of feeds.entries()) await feed.until('it comes', () => (tasks[n] ?? '') in feed.states, 5_000);
    for (const one of wide) {
      await one.until('all come to the operator', () => tasks.every((taskId) => taskId in one.states), 5_000);
    }
    expect(performance.now() - startedAt).toBeLessThan(3_500);
    for (const feed of [...feeds, ...wide]) feed.drop();
  }, 30_000);

  it('a new epoch is 410 for a poll, and ends a stream', async () => {
    const client = newPrincipal(reader.url);
    const feed = await following(client);
    const cursor = feed.cursor;
    await inDatabase((db) => db.query('UPDATE taskbridge.installation SET made_at = made_at'));
    const taskId = await waiting(client);
    await feed.until('it ends', () => feed.refusal === 'end', 10_000);
    expect(feed.of(taskId)).toEqual([]);
    const again = new PollingReader(client.url, client.headers, {}, cursor);
    await again.connect();
    expect(again.refusal).toMatch(/^410 .*CURSOR_EXPIRED/);
    const fresh = await following(client);
    const later = await waiting(client);
    await fresh.until('a new feed goes on', () => later in fresh.states, 5_000);
    fresh.drop();
  });
});

describe('Two replicas with Redis', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let env: Record<string, string>;
  let replicas: [Service, Service];

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startRedis()]);
    env = {
      ...{ DATABASE_URL: database.appUrl, REDIS_URL: redis.url, READINESS_REDIS: 'degraded' },
      ...{ EXECUTOR: 'worker', WORKER_TOKENS: uniqueId('token'), STREAMS_PER_PRINCIPAL: '0' },
    };
    replicas = await Promise.all([startService(env, { lifetime: 'file' }), startService(env, { lifetime: 'file' })]);
  }, 180_000);
  afterAll(async () => {
    await Promise.all(replicas.map((service) => service.stop()));
    await redis.stop();
    await database.drop();
  });

  it.each(['an owner', 'a tenant', 'all'])(
    'tell each other at once what has changed among the tasks of %s',
    async (whose) => {
      const [here, there] = replicas;
      const client = newPrincipal(here.url);
      const wanted = { 'an owner': {}, 'a tenant': { tenant: '' }, all: { all: true } }[whose] ?? {};
      // Without a principal it is the local operator.
      const feed = new SseReader(there.url, whose === 'an owner' ? client.headers : {}, wanted);
      await feed.connect();
      const took: number[] = [];
      for (let n = 0; n < 30; n++) {
        const startedAt = performance.now();
        const taskId = await waiting(client);
        await feed.until('it comes', () => taskId in feed.states, 6_000);
        took.push(performance.now() - startedAt);
        await delay(40 * Math.random());
      }
      feed.drop();
      took.sort((a, b) => a - b);
      console.log(`from the create to its change on another replica, of ${whose}: p50 ${Math.round(took[15] ?? 0)} ms`);
      expect(took[15]).toBeLessThan(AT_ONCE_MS);
    },
    60_000,
  );

  it(`${FOLLOWERS} followers that drop and resume at random have everything at the end, through faults`, async () => {
    const owners = Array.from({ length: 10 }, () => newPrincipal(replicas[0].url));
    const kinds = Object.values(FEED_READERS);
    const followers = await Promise.all(
      Array.from({ length: FOLLOWERS }, async (_, n) => {
        const client = owners[n % owners.length] ?? newPrincipal(replicas[0].url);
        const Kind = kinds[n % kinds.length] ?? SseReader;
        const reader = new Kind(replicas[n % 2 ? 1 : 0].url, client.headers);
        await reader.connect();
        return { reader, client };
      }),
    );
    let isOver = false;
    const random = (items: readonly Service[]) => items[Math.floor(Math.random() * items.length)] ?? replicas[0];
    const restless = followers.map(async ({ reader }) => {
      while (!isOver) {
        await delay(200 + Math.random() * 2_000);
        if (isOver) return;
        await reader.resume(random(replicas).url).catch(() => undefined);
      }
    });
    const created = new Map<string, Set<string>>(owners.map(({ principal = '' }) => [principal, new Set()]));
    const writing = owners.map(async (owner) => {
      for (let n = 0; n < 12; n++) {
        const client = new Client(replicas[n % 2 ? 1 : 0].url, owner.principal);
        try {
          const taskId = await waiting(client);
          created.get(owner.principal ?? '')?.add(taskId);
          if (n % 3 === 0) await client.cancel(taskId);
        } catch {
          // The replica is being killed. What it stored is compared with the list.
        }
        await delay(300);
      }
    });
    await delay(1_000);
    await redis.cli('FLUSHALL');
    await delay(500);
    await redis.restart({ keepData: false });
    await delay(500);
    replicas[1].kill('SIGKILL');
    await replicas[1].exited;
    replicas[1] = await startService(env, { lifetime: 'file' });
    await Promise.all(writing);
    isOver = true;
    await Promise.all(restless);

    const stored = await connected(database.superuserUrl, async (db) => {
      const { rows } = await db.query<{ owner_id: string; task_id: string; status: string }>(
        'SELECT owner_id, task_id, status FROM taskbridge.proj_tasks',
      );
      return Map.groupBy(rows, (row) => row.owner_id);
    });
    for (const { reader, client } of followers) {
      await reader.resume(random(replicas).url);
      const mine = stored.get(client.principal ?? '') ?? [];
      const expected = Object.fromEntries(mine.map(({ task_id, status }) => [task_id, status]));
      await reader.until(
        'it has everything',
        () => JSON.stringify(Object.entries(reader.states).sort()) === JSON.stringify(Object.entries(expected).sort()),
      );
      expect(reader.changes.every(({ task }) => task === undefined || task.taskId in expected)).toBe(true);
      reader.drop();
    }
    const histories = followers.map(({ reader, client }, n) =>
      reader.history(`follower ${n}`, { owner: client.principal }),
    );
    expect(await check(histories, database.superuserUrl)).toMatchObject({ code: 0 });
    // It would have seen one task of which a follower was not told.
    const [first = [], ...others] = histories;
    const untold = followers[0]?.reader.changes[0]?.task?.taskId ?? 'none';
    const told = first.filter((line) => !JSON.stringify(line).includes(untold));
    expect(await check([told, ...others], database.superuserUrl)).toMatchObject({
      code: 1,
      report: expect.stringMatching(/^! lost +1 /m),
    });
    for (const [owner, tasks] of created) {
      for (const taskId of tasks)
        expect((stored.get(owner) ?? []).some(({ task_id }) => task_id === taskId)).toBe(true);
    }
    await eventually('all streams are gone', async () => {
      const metrics = await (await fetch(`${replicas[0].url}/metrics`)).text();
      return /taskbridge_streams_active\{transport="sse"\} 0/.test(metrics);
    });
  }, 240_000);
});
