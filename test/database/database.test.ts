import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { UnfitConnection } from '../../src/database/connection-check.js';
import { CommitUnknown, DatabaseUnavailable } from '../../src/database/database.errors.js';
import { Database } from '../../src/database/database.js';
import { createPool } from '../../src/database/pool.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { PostgresProxy, type RoundTrip } from '../support/postgres-proxy.js';

let test: TestDatabase;
let superuser: pg.Client;
let pool: pg.Pool;
let database: Database;

beforeAll(async () => {
  test = await createTestDatabase();
  superuser = new pg.Client({ connectionString: test.superuserUrl });
  await superuser.connect();
  await superuser.query(`CREATE TABLE taskbridge.proj_counters
      (name text PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, n int NOT NULL DEFAULT 0);
    GRANT SELECT, INSERT, UPDATE, DELETE ON taskbridge.proj_counters TO taskbridge_app`);
});

afterAll(async () => {
  await superuser.end();
  await test.drop();
});

beforeEach(async () => {
  await superuser.query("TRUNCATE taskbridge.proj_counters; INSERT INTO taskbridge.proj_counters VALUES ('a'), ('b')");
  pool = createPool(test.appUrl, { max: 2 });
  database = new Database(pool);
});

afterEach(() => database.stop());

const INCREMENT = { name: 'increment', text: 'UPDATE proj_counters SET n = n + 1 WHERE name = $1 RETURNING n' };
const READ = { name: 'read', text: 'SELECT n FROM proj_counters WHERE name = $1' };
const FAIL = { name: 'fail', text: 'SELECT 1 / 0' };
const SLEEP = { name: 'sleep', text: 'SELECT pg_sleep($1)' };

async function counter(name: string): Promise<number | undefined> {
  const { rows } = await superuser.query<{ n: number }>('SELECT n FROM taskbridge.proj_counters WHERE name = $1', [
    name,
  ]);
  return rows[0]?.n;
}

function terminateAppBackends(): Promise<unknown> {
  return superuser.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = 'taskbridge_app' AND datname = current_database()`);
}

describe('a statement', () => {
  it('answers its rows', async () => {
    expect(await database.query(INCREMENT, ['a'])).toEqual([{ n: 1 }]);
    expect(await database.query(READ, ['a'])).toEqual([{ n: 1 }]);
    expect(await database.query(READ, ['nobody'])).toEqual([]);
  });

  it('that fails by a fault throws what PostgreSQL said, and its connection is used again', async () => {
    await expect(database.query(FAIL)).rejects.toMatchObject({ code: '22012' });
    expect(pool).toMatchObject({ totalCount: 1, idleCount: 1 });
  });

  it('that cannot have a lock or takes too long is unavailable, and its connection is used again', async () => {
    await database.transaction(async (tx) => {
      await tx.query(INCREMENT, ['a']);
      const nowait = { name: 'nowait', text: 'SELECT FROM proj_counters WHERE name = $1 FOR UPDATE NOWAIT' };
      await expect(database.query(nowait, ['a'])).rejects.toBeInstanceOf(DatabaseUnavailable);
    });
    const slow = database.transaction(async (tx) => {
      await tx.query({ name: 'hurry', text: "SELECT set_config('statement_timeout', '20', true)" }, []);
      await tx.query(SLEEP, [5]);
    });
    await expect(slow).rejects.toBeInstanceOf(DatabaseUnavailable);
    expect(pool).toMatchObject({ totalCount: 2, idleCount: 2 });
  });
});

describe('a transaction', () => {
  it('is there as a whole when its work returns', async () => {
    const result = await database.transaction(async (tx) => {
      await tx.query(INCREMENT, ['a']);
      await tx.query(INCREMENT, ['b']);
      return 'done';
    });
    expect([result, await counter('a'), await counter('b')]).toEqual(['done', 1, 1]);
  });

  it('leaves nothing when its work throws, and throws the same', async () => {
    const refusal = new Error('a domain error');
    const refused = database.transaction(async (tx) => {
      await tx.query(INCREMENT, ['a']);
      throw refusal;
    });
    await expect(refused).rejects.toBe(refusal);
    expect(await counter('a')).toBe(0);
    expect(pool).toMatchObject({ totalCount: 1, idleCount: 1 });
  });

  it('in which somebody swallowed a failure is not taken for committed', async () => {
    const swallowed = database.transaction(async (tx) => {
      await tx.query(INCREMENT, ['a']);
      await tx.query(FAIL, []).catch(() => {});
    });
    await expect(swallowed).rejects.toThrow('rolled back, not committed');
    expect(await counter('a')).toBe(0);
  });

  it('that COMMIT itself refuses throws what PostgreSQL said', async () => {
    const rename = { name: 'rename', text: "UPDATE proj_counters SET name = 'a'" };
    let reachedCommit = false;
    const refused = database.transaction(async (tx) => {
      await tx.query(rename, []);
      reachedCommit = true;
    });
    await expect(refused).rejects.toMatchObject({ code: '23505' });
    expect(reachedCommit).toBe(true);
    expect(pool).toMatchObject({ totalCount: 1, idleCount: 1 });
  });

  it('takes no statement after its end', async () => {
    const leaked = await database.transaction((tx) => Promise.resolve(() => tx.query(READ, ['a'])));
    await expect(leaked()).rejects.toThrow('the transaction is over');
  });

  it('that meets another in a deadlock runs again', async () => {
    let runs = 0;
    let arrived = 0;
    const meeting = Promise.withResolvers<void>();
    const cross = (first: string, second: string) =>
      database.transaction(async (tx) => {
        runs += 1;
        await tx.query(INCREMENT, [first]);
        arrived += 1;
        if (arrived === 2) meeting.resolve();
        await meeting.promise;
        await tx.query(INCREMENT, [second]);
      });
    await Promise.all([cross('a', 'b'), cross('b', 'a')]);
    expect([runs, await counter('a'), await counter('b')]).toEqual([3, 2, 2]);
  });

  it('runs at most four times', async () => {
    let runs = 0;
    const raise = { name: 'raise', text: "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$" };
    const work = database.transaction((tx) => {
      runs += 1;
      return tx.query(raise, []);
    });
    await expect(work).rejects.toBeInstanceOf(DatabaseUnavailable);
    expect(runs).toBe(4);
  });
});

describe('through a network that fails', () => {
  let proxy: PostgresProxy;
  let distant: Database;
  const isCommit = { matches: ({ sql }: RoundTrip) => sql === 'COMMIT' };

  beforeEach(async () => {
    proxy = await PostgresProxy.start(test.appUrl);
    distant = new Database(createPool(proxy.url, { max: 1 }));
  });

  afterEach(async () => {
    await distant.stop();
    await proxy.close();
  });

  it('a COMMIT that did not arrive is unknown, and the next transaction has a new connection', async () => {
    void proxy.before(1, isCommit);
    await expect(distant.transaction((tx) => tx.query(INCREMENT, ['a']))).rejects.toBeInstanceOf(CommitUnknown);
    expect(await distant.transaction((tx) => tx.query(INCREMENT, ['a']))).toEqual([{ n: 1 }]);
  });

  it('a COMMIT whose answer was lost is unknown as well', async () => {
    void proxy.after(1, isCommit);
    await expect(distant.transaction((tx) => tx.query(INCREMENT, ['a']))).rejects.toBeInstanceOf(CommitUnknown);
    expect(await counter('a')).toBe(1);
  });

  it('a transaction that is cut before its COMMIT is unavailable, and nothing of it is there', async () => {
    void proxy.after(1, { matches: ({ sql }) => sql === INCREMENT.text });
    await expect(distant.transaction((tx) => tx.query(INCREMENT, ['a']))).rejects.toBeInstanceOf(DatabaseUnavailable);
    expect(await distant.query(READ, ['a'])).toEqual([{ n: 0 }]);
  });

  it('a new connection costs one statement more, which checks it', async () => {
    for (let n = 0; n < 3; n += 1) await distant.query(READ, ['a']);
    const [check, ...statements] = proxy.trips.map(({ sql }) => sql);
    expect(check).toContain("current_setting('synchronous_commit')");
    expect(statements).toEqual([READ.text, READ.text, READ.text]);
  });
});

describe('the pool', () => {
  it('survives the end of a backend nobody was using, and tells of it', async () => {
    const lost = Promise.withResolvers<Error>();
    const watched = createPool(test.appUrl, { max: 1, onConnectionLost: lost.resolve });
    const own = new Database(watched);
    await own.query(READ, ['a']);
    await terminateAppBackends();
    expect(await lost.promise).toMatchObject({ code: '57P01' });
    expect(await own.query(READ, ['a'])).toEqual([{ n: 0 }]);
    await own.stop();
  });

  it('survives the end of a backend that was working', async () => {
    const working = database.query(SLEEP, [5]);
    const refused = expect(working).rejects.toBeInstanceOf(DatabaseUnavailable);
    const removed = once(pool, 'remove');
    await once(pool, 'acquire');
    await terminateAppBackends();
    await refused;
    await removed;
    expect(await database.query(READ, ['a'])).toEqual([{ n: 0 }]);
  });

  it('lets 2 000 wait and tells the next one at once', async () => {
    const narrow = new Database(createPool(test.appUrl, { max: 1 }));
    const held = Promise.withResolvers<void>();
    const holding = Promise.withResolvers<void>();
    const holder = narrow.transaction(async () => {
      holding.resolve();
      await held.promise;
    });
    await holding.promise;
    const waiting = Array.from({ length: 2_000 }, () => narrow.query(READ, ['a']));
    await expect(narrow.query(READ, ['a'])).rejects.toMatchObject({ cause: { message: '2000 requests wait already' } });
    held.resolve();
    expect(await Promise.all([holder, ...waiting])).toHaveLength(2_001);
    await narrow.stop();
  });

  it('lets those wait for longer than two seconds who see that others are served', async () => {
    const narrow = new Database(createPool(test.appUrl, { max: 1 }));
    const all = Array.from({ length: 8 }, () => narrow.query(SLEEP, [0.4]));
    expect(await Promise.all(all)).toHaveLength(8);
    await narrow.stop();
  });

  it('lets nobody wait for longer than five seconds', async () => {
    const narrow = new Database(createPool(test.appUrl, { max: 1 }));
    const outcomes = await Promise.allSettled(Array.from({ length: 16 }, () => narrow.query(SLEEP, [0.5])));
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThan(2);
    expect(refused.length).toBeLessThan(12);
    await narrow.stop();
  });

  it('refuses a wait of more than two seconds in which nobody is served', async () => {
    const narrow = new Database(createPool(test.appUrl, { max: 1 }));
    const held = Promise.withResolvers<void>();
    const holder = narrow.transaction(() => held.promise);
    const startedAt = performance.now();
    await expect(narrow.query(READ, ['a'])).rejects.toBeInstanceOf(DatabaseUnavailable);
    expect(performance.now() - startedAt).toBeLessThan(3_000);
    held.resolve();
    await holder;
    await narrow.stop();
  });

  it('hands out no connection that must not serve', async () => {
    const strong = new Database(createPool(test.superuserUrl, { max: 1 }));
    const refused = await strong.query(READ, ['a']).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(DatabaseUnavailable);
    expect((refused as Error).cause).toBeInstanceOf(UnfitConnection);
    await strong.stop();
  });

  it('is unavailable where nobody listens', async () => {
    const nowhere = new Database(createPool('postgres://taskbridge_app@127.0.0.1:1/taskbridge', { max: 1 }));
    await expect(nowhere.query(READ, ['a'])).rejects.toBeInstanceOf(DatabaseUnavailable);
    await nowhere.stop();
  });

  it('stops after the work that is under way, and takes no more', async () => {
    const working = database.transaction((tx) => tx.query(SLEEP, [0.2]).then(() => tx.query(INCREMENT, ['a'])));
    await once(pool, 'acquire');
    const stopped = Promise.all([database.stop(), database.stop()]);
    await expect(database.query(READ, ['a'])).rejects.toBeInstanceOf(DatabaseUnavailable);
    await stopped;
    expect(await working).toEqual([{ n: 1 }]);
  });
});
