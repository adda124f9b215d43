import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { createTestDatabase } from '../support/postgres.js';
import { PostgresProxy, type RoundTrip } from '../support/postgres-proxy.js';
import { eventually } from '../support/service.js';

const about = (text: string) => (trip: RoundTrip) => trip.sql.includes(text);

describe('The stepping PostgreSQL proxy', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let proxy: PostgresProxy;
  let direct: pg.Client;
  const clients: pg.Client[] = [];

  const connect = async (url = proxy.url) => {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => {});
    await client.connect();
    clients.push(client);
    return client;
  };
  const names = async () =>
    (await direct.query<{ name: string }>('SELECT name FROM note ORDER BY name')).rows.map((r) => r.name);

  beforeAll(async () => {
    database = await createTestDatabase();
    direct = new pg.Client({ connectionString: database.superuserUrl });
    await direct.connect();
    await direct.query('CREATE TABLE note (name text)');
  });

  beforeEach(async () => {
    proxy = await PostgresProxy.start(database.superuserUrl);
    await direct.query('TRUNCATE note');
  });

  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.end().catch(() => {})));
    await proxy.close();
  });

  afterAll(async () => {
    await direct.end();
    await database.drop();
  });

  it('passes queries of the simple and the extended protocol through unchanged', async () => {
    const client = await connect();
    const simple = await client.query("SELECT 1 AS one, repeat('x', 100000) AS big");
    const extended = await client.query('SELECT $1::text AS name', ['ä']);
    expect([simple.rows[0].one, simple.rows[0].big.length, extended.rows[0].name]).toEqual([1, 100_000, 'ä']);
  });

  it('counts one round trip a request and knows the text of a prepared statement that is only bound', async () => {
    const client = await connect();
    const prepared = { name: 'add', text: 'INSERT INTO note VALUES ($1)' };
    await client.query(prepared, ['first']);
    await client.query(prepared, ['second']);
    await client.query('SELECT 1');
    expect(proxy.trips.map(({ sql }) => sql)).toEqual([prepared.text, prepared.text, 'SELECT 1']);
    expect(proxy.count(({ parameters }) => parameters.includes('second'))).toBe(1);
  });

  it('counts an error as an answer', async () => {
    const client = await connect();
    await expect(client.query('SELECT nonsense')).rejects.toThrow('nonsense');
    await client.query('SELECT 1');
    expect(proxy.count()).toBe(2);
  });

  it('cuts the connection before the k-th matching request reaches PostgreSQL', async () => {
    const client = await connect();
    const cut = proxy.before(2, { matches: about('INSERT') });
    await client.query("INSERT INTO note VALUES ('one')");
    await client.query('SELECT 1');
    expect(proxy.armed).toBe(1);
    await expect(client.query("INSERT INTO note VALUES ('two')")).rejects.toThrow();
    expect((await cut).sql).toContain('two');
    expect(proxy.armed).toBe(0);
    expect(await names()).toEqual(['one']);
  });

  it('cuts the connection after the k-th request was applied and keeps the answer', async () => {
    const client = await connect();
    const cut = proxy.after(1, { matches: about('INSERT') });
    await expect(client.query("INSERT INTO note VALUES ('one')")).rejects.toThrow();
    await cut;
    expect(await names()).toEqual(['one']);
  });

  it('leaves an open transaction to be rolled back when it cuts after a request inside it', async () => {
    const client = await connect();
    void proxy.after(1, { matches: about('INSERT') });
    await client.query('BEGIN');
    await expect(client.query("INSERT INTO note VALUES ('one')")).rejects.toThrow();
    const lockedBy =
      "SELECT 1 FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = 'note' AND l.mode LIKE 'Row%'";
    await eventually('the transaction is gone', async () => (await direct.query(lockedBy)).rows.length === 0);
    expect(await names()).toEqual([]);
  });

  it('runs the given act while the request is stopped', async () => {
    const client = await connect();
    const seen: number[] = [];
    void proxy.before(1, { matches: about('INSERT'), act: async () => seen.push((await names()).length) });
    await expect(client.query("INSERT INTO note VALUES ('one')")).rejects.toThrow();
    expect(seen).toEqual([0]);
  });

  it('holds the COMMIT of the one transaction that matched, and nobody else', async () => {
    const [held, other] = [await connect(), await connect()];
    const hold = proxy.holdCommit(about("'held'"));
    await held.query('BEGIN');
    await held.query("INSERT INTO note VALUES ('held')");
    let committed = false;
    const commit = held.query('COMMIT').then(() => {
      committed = true;
    });
    await hold.held;
    await other.query('BEGIN');
    await other.query("INSERT INTO note VALUES ('other')");
    await other.query('COMMIT');
    expect([await names(), committed]).toEqual([['other'], false]);
    hold.release();
    await commit;
    expect(await names()).toEqual(['held', 'other']);
  });

  it('delays what matches and lets the rest overtake it', async () => {
    const [slow, quick] = [await connect(), await connect()];
    proxy.delay(300, about('slow'));
    const order: string[] = [];
    await Promise.all([
      slow.query("SELECT 'slow'").then(() => order.push('slow')),
      quick.query("SELECT 'quick'").then(() => order.push('quick')),
    ]);
    expect(order).toEqual(['quick', 'slow']);
  });

  it('interferes with nothing after resume', async () => {
    const client = await connect();
    void proxy.before(1);
    proxy.holdCommit(() => true);
    proxy.resume();
    await client.query("BEGIN; INSERT INTO note VALUES ('one'); COMMIT");
    expect(await names()).toEqual(['one']);
  });
});
