import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants, storedEnvelopes } from '../support/fold.js';
import { type Reader, transports } from '../support/follow.js';
import { createTestDatabase } from '../support/postgres.js';
import { PostgresProxy } from '../support/postgres-proxy.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { RedisProxy } from '../support/redis-proxy.js';
import { eventually, type Service, startService } from '../support/service.js';

/** What the head comparison promises, with room for a machine that is busy. */
const LATEST_MS = 2_500;
/** Without the live log, a stream of more than a second has an event that is later than this. */
const AT_ONCE_MS = 500;

interface Fault {
  readonly strike: () => unknown;
  /** Absent: the fault is over at once. */
  readonly heal?: () => unknown;
  /** Whether Redis answers nothing at all meanwhile. */
  readonly isGone?: true;
  /** Whether the replicas go on with the connections that they have. */
  readonly isBearable?: true;
}

describe('Two replicas', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let redis: TestRedis;
  let proxy: PostgresProxy;
  let redisProxy: RedisProxy;
  let writer: Service;
  /** Executes nothing itself: every event comes from the other replica. */
  let reader: Service;
  let client: Client;
  let env: Record<string, string>;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startRedis()]);
    proxy = await PostgresProxy.start(database.appUrl);
    redisProxy = await RedisProxy.start(redis.url);
    env = { DATABASE_URL: database.appUrl, REDIS_URL: redisProxy.url };
    [writer, reader] = await Promise.all([
      startService({ ...env, DATABASE_URL: proxy.url }, { lifetime: 'file' }),
      startService({ ...env, EXECUTOR: 'worker', READINESS_REDIS: 'degraded' }, { lifetime: 'file' }),
    ]);
    client = newPrincipal(reader.url);
  }, 300_000);

  afterAll(async () => {
    await Promise.all([writer.stop(), reader.stop()]);
    await Promise.all([proxy.close(), redisProxy.close()]);
    await Promise.all([redis.stop(), database.drop()]);
  });

  const faults: Record<string, Fault> = {
    'is stopped': { strike: () => redis.kill(), heal: () => redis.restart({ keepData: false }), isGone: true },
    'does not answer': { strike: () => redis.pause(), heal: () => redis.resume(), isGone: true },
    'is slow': { strike: () => redisProxy.delay(300), heal: () => redisProxy.resume(), isBearable: true },
    'is too slow': { strike: () => redisProxy.delay(1_200), heal: () => redisProxy.resume() },
    'is flushed': { strike: () => redis.cli('FLUSHALL') },
    'restarts without its data': { strike: () => redis.restart({ keepData: false }) },
    'is read-only': {
      strike: () => redis.cli('REPLICAOF', '127.0.0.1', '1'),
      heal: () => redis.cli('REPLICAOF', 'NO', 'ONE'),
    },
    'wants replicas that are not there': {
      strike: () => redis.cli('CONFIG', 'SET', 'min-replicas-to-write', '1'),
      heal: () => redis.cli('CONFIG', 'SET', 'min-replicas-to-write', '0'),
    },
    'is out of memory': {
      strike: async () => {
        await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
        await redis.cli('CONFIG', 'SET', 'maxmemory', '1mb');
      },
      heal: () => redis.cli('CONFIG', 'SET', 'maxmemory', '0'),
    },
  };

  describe.each(Object.entries(faults))('while Redis %s', (_name, { strike, heal, isGone, isBearable }) => {
    it('deliver late at most, and at once when it is over', async () => {
      const throughout = follow(await created(5_000), [writer, reader]);
      await Promise.all(throughout.map(({ stream }) => stream.waitFor(({ events }) => events.length >= 3)));
      const lost = count('live_log.redis_lost');

      try {
        await strike();
        const during = follow(await created(15), [reader]);
        for (const { taskId, latest, stream } of during) {
          expect(await latest).toBeLessThan(LATEST_MS);
          expect(bytesOf(stream)).toEqual(await storedEnvelopes(database.superuserUrl, taskId));
        }
        if (isGone) await expectReadiness('not_ready');
        if (isBearable) expect(count('live_log.redis_lost')).toBe(lost);
        else if (heal) await eventually('the replicas notice', () => count('live_log.redis_lost') >= lost + 2);
      } finally {
        await heal?.();
      }
      await eventually(
        'the replicas are back',
        () => count('live_log.redis_back') === count('live_log.redis_lost'),
        5_000,
      );
      await eventually('events arrive at once', async () => {
        const after = follow(await created(25), [reader]);
        return Math.max(...(await Promise.all(after.map(({ latest }) => latest)))) < AT_ONCE_MS;
      });
      await expectReadiness('ready');

      await client.cancel(throughout[0]?.taskId ?? '');
      for (const { taskId, latest, stream } of throughout) {
        expect(await latest).toBeLessThan(LATEST_MS);
        expect(bytesOf(stream)).toEqual(await storedEnvelopes(database.superuserUrl, taskId));
      }
      await checkInvariants(database.superuserUrl);
    }, 40_000);
  });

  it('serve without a Redis from the start, and end in order', async () => {
    const alone = await startService({ ...env, REDIS_URL: 'redis://127.0.0.1:1' });
    const { status } = await fetch(`${alone.url}/ready`);
    expect(status).toBe(503);
    for (const { taskId, latest, stream } of follow(await created(3), [alone])) {
      expect(await latest).toBeLessThan(LATEST_MS);
      expect(bytesOf(stream)).toEqual(await storedEnvelopes(database.superuserUrl, taskId));
    }
    expect(await alone.stop()).toEqual({ code: 0, signal: null });
    expect(alone.stdout().split('live_log.').length - 1).toBe(1);
  });

  it('give nobody an event before its commit, and hold up no other task', async () => {
    const held = await created(1, 'nobody.claims');
    const waiting = follow(held, [writer, reader]);
    // WebSocket and SSE say when they have begun; a long-poll does not.
    const telling = waiting.filter((_, n) => n % 3 < 2);
    await Promise.all(telling.map(({ stream }) => stream.waitFor(({ frames }) => frames.length > 0)));
    const hold = proxy.holdCommit(({ parameters }) => parameters.includes(held));
    const cancelling = new Client(writer.url, client.principal).cancel(held);
    await hold.held;
    try {
      // What was published before these, on the same connections, has arrived when they have.
      const others = follow(await created(3), [writer, reader]);
      for (const { latest } of others) expect(await latest).toBeLessThan(LATEST_MS);
      for (const { stream } of waiting) expect(stream.events).toEqual([]);
    } finally {
      hold.release();
    }
    await cancelling;
    for (const { stream } of waiting) {
      await stream.end();
      expect(bytesOf(stream)).toEqual(await storedEnvelopes(database.superuserUrl, held));
    }
  });

  /** A task with `chunks` events, 50 ms apart. */
  async function created(chunks: number, taskType = 'demo.stream'): Promise<string> {
    const body = { clientRequestId: uniqueId(), taskType, input: { chunks, intervalMs: 50 } };
    const startedAt = performance.now();
    const { status, body: task } = await client.create(body);
    expect(status).toBe(201);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    return task.taskId;
  }

  interface Followed {
    readonly taskId: string;
    readonly stream: Reader;
    /** At the end of the stream: the largest delay from storing to arrival, in milliseconds. */
    readonly latest: Promise<number>;
  }

  /** Every transport on every replica. */
  function follow(taskId: string, services: readonly Service[]): readonly Followed[] {
    return services.flatMap(({ url }) =>
      Object.values(transports).map((open) => {
        const stream = open(url, taskId, undefined, client.headers);
        const latest = lateness(stream);
        // A test that has failed elsewhere does not ask any more.
        latest.catch(() => {});
        return { taskId, stream, latest };
      }),
    );
  }

  async function lateness(stream: Reader): Promise<number> {
    let seen = 0;
    let latest = 0;
    await stream.waitFor(({ events, outcome }) => {
      for (const { raw } of events.slice(seen)) {
        const { createdAt } = JSON.parse(raw) as { createdAt: string };
        latest = Math.max(latest, Date.now() - Date.parse(createdAt));
      }
      seen = events.length;
      return outcome !== undefined;
    }, 30_000);
    return latest;
  }

  function bytesOf(stream: Reader): readonly string[] {
    return stream.events.map(({ raw }) => raw);
  }

  function count(event: string): number {
    return [writer, reader].reduce((sum, service) => sum + service.stdout().split(`"${event}"`).length - 1, 0);
  }

  /** The answer of each replica about Redis. It decides with `required`, and is only shown with `degraded`. */
  async function expectReadiness(status: 'ready' | 'not_ready'): Promise<void> {
    const expected = [status === 'ready' ? 200 : 503, 200].map((code) => ({ code, redis: { status } }));
    await eventually(`redis is ${status}`, async () => {
      const shown = await Promise.all(
        [writer, reader].map(async ({ url }) => {
          const response = await fetch(`${url}/ready`);
          const { details } = (await response.json()) as { details: { redis?: unknown } };
          return { code: response.status, redis: details.redis };
        }),
      );
      expect(shown).toEqual(expected);
      return true;
    });
  }
});
