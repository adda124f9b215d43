import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants, storedEnvelopes } from '../support/fold.js';
import { type Reader, transports } from '../support/follow.js';
import { createTestDatabase } from '../support/postgres.js';
import { PostgresProxy } from '../support/postgres-proxy.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { eventually, type Service, startService } from '../support/service.js';

const HOLD_MS = process.env['FULL'] === '1' ? 5_000 : 2_000;
const STEPS = 7;
/** The lock that an append waits for at its commit. */
const GATE = 4_711;

interface Held {
  /** Events that are committed before. */
  readonly visible: number;
  release(): unknown;
}

describe("While one writer's commit is held", () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let redis: TestRedis;
  let proxy: PostgresProxy;
  let superuser: pg.Client;
  let services: readonly [Service, Service];
  let client: Client;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startRedis()]);
    proxy = await PostgresProxy.start(database.appUrl);
    const env = { REDIS_URL: redis.url };
    services = await Promise.all([
      startService({ ...env, DATABASE_URL: proxy.url }, { lifetime: 'file' }),
      startService({ ...env, DATABASE_URL: database.appUrl, EXECUTOR: 'worker' }, { lifetime: 'file' }),
    ]);
    client = newPrincipal(services[0].url);
    superuser = new pg.Client({ connectionString: database.superuserUrl });
    await superuser.connect();
  }, 300_000);

  afterAll(async () => {
    await Promise.all(services.map((service) => service.stop()));
    await superuser.end();
    await proxy.close();
    await Promise.all([redis.stop(), database.drop()]);
  });

  const created = async (steps: number): Promise<string> => {
    const input = { steps, stepMs: 50 };
    return (await client.create({ clientRequestId: uniqueId(), taskType: 'demo.greet', input })).body.taskId;
  };

  const followEverywhere = (taskId: string): Reader[] =>
    services.flatMap(({ url }) =>
      Object.values(transports).map((follow) => follow(url, taskId, undefined, client.headers)),
    );

  /** How long the slowest of some other tasks took from its creation to its last reader. */
  const othersTake = async (): Promise<number> => {
    const startedAt = performance.now();
    const ids = await Promise.all(Array.from({ length: 4 }, () => created(3)));
    await Promise.all(ids.flatMap(followEverywhere).map((reader) => reader.end(15_000)));
    return performance.now() - startedAt;
  };

  const holds: Record<string, () => Promise<{ taskId: string; readers: Reader[]; held: Promise<Held> }>> = {
    'the COMMIT of an end': async () => {
      const taskId = await created(STEPS);
      const readers = followEverywhere(taskId);
      await readers[0]?.waitFor(({ events }) => events.length > 0);
      const hold = proxy.holdCommit(({ parameters }) => parameters.includes(taskId));
      return { taskId, readers, held: hold.held.then(() => ({ visible: STEPS + 1, release: hold.release })) };
    },

    // One statement that is its own transaction: no COMMIT is on the wire, so PostgreSQL itself waits when it commits.
    'the commit of an append': async () => {
      await superuser.query(`
        CREATE OR REPLACE FUNCTION public.wait_at_commit() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0
          AS 'BEGIN PERFORM pg_advisory_xact_lock(${GATE}); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT ON taskbridge.events DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW WHEN (NEW.payload ->> 'message' = 'step 4 of ${STEPS}') EXECUTE FUNCTION public.wait_at_commit();
        SELECT pg_advisory_lock(${GATE})`);
      const taskId = await created(STEPS);
      const waiting = `SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = ${GATE} AND NOT granted`;
      const held = eventually('it waits', async () => (await superuser.query(waiting)).rows.length > 0).then(() => ({
        visible: 4,
        release: () => superuser.query(`SELECT pg_advisory_unlock(${GATE})`),
      }));
      return { taskId, readers: followEverywhere(taskId), held };
    },
  };

  it.each(Object.entries(holds))(
    '(%s) no reader skips anything, and no other task is delayed',
    async (_name, hold) => {
      const usual = await othersTake();
      const { taskId, readers, held } = await hold();
      const { visible, release } = await held;
      const heldAt = performance.now();
      const early = `the first ${visible} events, and no more`;
      try {
        readers.push(...followEverywhere(taskId));
        expect(await othersTake()).toBeLessThan(usual * 3 + 500);
        await Promise.all(readers.map((reader) => reader.waitFor(({ events }) => events.length >= visible)));
        await eventually('the time is up', () => performance.now() - heldAt > HOLD_MS);
        expect(readers.map(({ events }) => [early, events.length])).toEqual(readers.map(() => [early, visible]));
      } finally {
        await release();
      }
      await Promise.all(readers.map((reader) => reader.end()));
      const log = await storedEnvelopes(database.superuserUrl, taskId);
      expect(log).toHaveLength(STEPS + 2);
      for (const reader of readers) expect(reader.events.map(({ raw }) => raw)).toEqual(log);
      await checkInvariants(database.superuserUrl);
    },
    60_000,
  );
});
