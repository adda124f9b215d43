import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Database } from '../../src/database/database.js';
import { Hub } from '../../src/following/hub.js';
import { packs, unpacked } from '../../src/live-log/event-pack.js';
import { hintPack } from '../../src/live-log/hint-pack.js';
import { InProcessLiveLog } from '../../src/live-log/in-process-live-log.js';
import { RedisLiveLog } from '../../src/live-log/redis-live-log.js';
import { STREAM_KEY } from '../../src/live-log/redis-stream.js';
import { NoOpTransportDiagnosticsSink } from '../../src/observability/transport-diagnostics-sink.js';
import { StoredEvent } from '../../src/tasks/domain/stored-event.js';
import type { LiveLog, LiveLogFollower } from '../../src/tasks/ports/live-log.js';
import { Lines } from '../support/lines.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { RedisProxy } from '../support/redis-proxy.js';
import { eventually } from '../support/service.js';

/** A reconnection takes less, and the promise is 5 s. */
const BACK_MS = 5_000;

let redis: TestRedis;
const open: LiveLog[] = [];

beforeAll(async () => {
  redis = await startRedis();
}, 300_000);
afterEach(async () => {
  await Promise.all(open.splice(0).map((liveLog) => liveLog.stop()));
});
afterAll(() => redis.stop());

async function started<L extends LiveLog>(liveLog: L): Promise<L> {
  open.push(liveLog);
  await liveLog.start();
  return liveLog;
}

const overRedis = (url = redis.url, log = new Lines()) => started(new RedisLiveLog(url, log));

/** Counts what it heard. */
async function listener(liveLog: LiveLog, key: string, kind: 'owner' | 'worker' = 'owner') {
  const counted = { heard: 0, end: () => {} };
  counted.end = await liveLog.listen(kind, key, () => (counted.heard += 1));
  return counted;
}

/** Follows every task and counts the warnings that events may have been lost. */
class Warned implements LiveLogFollower {
  warnings = 0;
  readonly ids: number[] = [];
  follows(): boolean {
    return true;
  }
  receive(events: readonly StoredEvent[]): boolean {
    this.ids.push(...events.map(({ eventId }) => eventId));
    return true;
  }
  missed(): void {
    this.warnings += 1;
  }
}

const eventOf = (taskId: string, eventId: number) =>
  new StoredEvent(taskId, eventId, 'TASK_PROGRESS', '2026-11-21T10:00:00.000Z', '{}');
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe.each([
  ['InProcessLiveLog', () => started(new InProcessLiveLog())],
  ['RedisLiveLog', () => overRedis()],
] as const)('On one replica, %s', (_name, make) => {
  it('calls the listeners of a channel, and no others, once a turn', async () => {
    const liveLog: LiveLog = await make();
    const [key, other] = [randomUUID(), randomUUID()];
    const all = [await listener(liveLog, key), await listener(liveLog, key)];
    const rest = [await listener(liveLog, other), await listener(liveLog, key, 'worker')];
    for (let n = 0; n < 100; n++) liveLog.hint('owner', key);
    // The caller is at its commit: nothing runs inside its call.
    expect(all.map(({ heard }) => heard)).toEqual([0, 0]);
    await turn();
    expect(all.map(({ heard }) => heard)).toEqual([1, 1]);
    liveLog.hint('owner', key);
    await turn();
    expect(all.map(({ heard }) => heard)).toEqual([2, 2]);
    expect(rest.map(({ heard }) => heard)).toEqual([0, 0]);
  });

  it('calls one that left no more, and the others still', async () => {
    const liveLog: LiveLog = await make();
    const key = randomUUID();
    const [gone, here] = [await listener(liveLog, key), await listener(liveLog, key)];
    gone.end();
    gone.end();
    liveLog.hint('owner', key);
    await turn();
    expect([gone.heard, here.heard]).toEqual([0, 1]);
  });

  it('opens a channel at once', async () => {
    const liveLog: LiveLog = await make();
    const startedAt = performance.now();
    await liveLog.opened(randomUUID());
    await liveLog.listen('owner', 'a', () => {});
    expect(performance.now() - startedAt).toBeLessThan(50);
  });
});

it('Only a live log between replicas says that it hears others', async () => {
  expect((await started(new InProcessLiveLog())).hearsOthers()).toBe(false);
  expect((await overRedis()).hearsOthers()).toBe(true);
});

describe('Over Redis', () => {
  it.each(['plain', '', ' two words', 'line\nbreak\r\n', '"], ["owner","other', 'ä😀\u2028', 'gap', 'x'.repeat(5_000)])(
    'a hint reaches the listeners of %j on another replica',
    async (key) => {
      const [here, there] = [await overRedis(), await overRedis()];
      const [mine, other] = [await listener(there, key), await listener(there, 'other')];
      here.hint('owner', key);
      await eventually('it is heard', () => mine.heard > 0);
      expect([mine.heard, other.heard]).toEqual([1, 0]);
    },
  );

  it('hints of a round trip are one entry, behind the events of their commits', async () => {
    await redis.cli('FLUSHALL');
    const [here, there] = [await overRedis(), await overRedis()];
    const follower = new Warned();
    there.follow(follower);
    const [one, two] = [await listener(there, 'one'), await listener(there, 'two')];
    let idsAtHint: readonly number[] = [];
    await there.listen('owner', 'one', () => (idsAtHint = [...follower.ids]));
    for (let id = 1; id <= 200; id++) {
      here.hint('owner', id % 2 ? 'one' : 'two');
      here.publish([eventOf(randomUUID(), id)]);
    }
    await eventually('both are heard', () => one.heard > 0 && two.heard > 0);
    expect([one.heard, two.heard]).toEqual([1, 1]);
    expect(idsAtHint).toHaveLength(200);
    expect(Number(await redis.cli('XLEN', STREAM_KEY))).toBeLessThan(6);
  });

  it('a build that knows events alone reads nothing in hints, and what comes behind them', async () => {
    const pack = Buffer.from(hintPack(['["owner","a"]', '["worker","b 1 T now 0"]']));
    expect(unpacked(pack, () => true)).toEqual([]);
    const [here, there] = [await overRedis(), await overRedis()];
    const follower = new Warned();
    there.follow(follower);
    const mine = await listener(there, 'a');
    for (const strange of ['hints', 'hints\n', 'hints\n\n\n', 'hints\nx', ...packs([eventOf(randomUUID(), 4)])]) {
      await redis.cli('XADD', STREAM_KEY, '*', 'by hand', strange);
    }
    here.hint('owner', 'a');
    await eventually('it is heard', () => mine.heard > 0);
    expect(follower.ids).toEqual([4]);
  });

  it('a flood of channels becomes one hint for all', async () => {
    const proxy = await RedisProxy.start(redis.url);
    try {
      const [here, there] = [await overRedis(proxy.url), await overRedis()];
      const [mine, follower] = [await listener(there, 'never hinted'), new Warned()];
      there.follow(follower);
      for (let n = 0; n < 20_000; n++) here.hint('owner', `owner ${n}`);
      await eventually('it is heard', () => mine.heard > 0);
      expect(follower.warnings).toBe(1);
    } finally {
      await proxy.close();
    }
  });

  const faults: Record<string, () => Promise<unknown>> = {
    'is flushed, and its clock is behind': async () => {
      await redis.cli('XADD', STREAM_KEY, '18446744073709551614-0', 'by hand', 'hints\n');
      await delay(50);
      await redis.cli('FLUSHALL');
    },
    'restarts without its data': () => redis.restart({ keepData: false }),
    'restarts with its data': () => redis.restart({ keepData: true }),
    'cuts its connections': () => redis.cli('CLIENT', 'KILL', 'TYPE', 'normal'),
  };

  it.each(Object.entries(faults))('when Redis %s, all are warned, and hints come again', async (_fault, strike) => {
    const [here, there] = [await overRedis(), await overRedis()];
    const [mine, follower] = [await listener(there, 'mine'), new Warned()];
    there.follow(follower);
    await strike();
    await eventually('they are warned', () => mine.heard > 0 && follower.warnings > 0, BACK_MS);
    await eventually('each hears others', () => here.hearsOthers() && there.hearsOthers(), BACK_MS);
    const before = mine.heard;
    await eventually(
      'a hint comes through',
      () => {
        here.hint('owner', 'mine');
        return mine.heard > before;
      },
      BACK_MS,
    );
    await redis.cli('DEL', STREAM_KEY);
  });

  it('a publisher that could not write says so when it can, to those who could read all the time', async () => {
    const log = new Lines();
    const [here, there] = [await overRedis(redis.url, log), await overRedis()];
    const [mine, follower] = [await listener(there, 'mine'), new Warned()];
    there.follow(follower);
    await redis.cli('CONFIG', 'SET', 'maxmemory', '1');
    try {
      here.hint('owner', 'mine');
      await eventually('it is noticed', () => log.events.includes('live_log.redis_lost'));
      here.publish([eventOf(randomUUID(), 1)]);
      expect([mine.heard, follower.warnings]).toEqual([0, 0]);
    } finally {
      await redis.cli('CONFIG', 'SET', 'maxmemory', '0');
    }
    await eventually('all are warned', () => mine.heard > 0 && follower.warnings > 0, BACK_MS);
    expect(follower.ids).toEqual([]);
  });

  it('one that has lost nothing warns nobody', async () => {
    const [here, there] = [await overRedis(), await overRedis()];
    const [mine, follower] = [await listener(there, 'mine'), new Warned()];
    there.follow(follower);
    here.publish([eventOf(randomUUID(), 1)]);
    here.hint('owner', 'mine');
    await eventually('both arrive', () => mine.heard === 1 && follower.ids.length === 1);
    expect(follower.warnings).toBe(0);
  });

  it('an open waits 100 ms for a Redis that is away, and no longer', async () => {
    const away = await overRedis('redis://127.0.0.1:1');
    for (const opening of [() => away.opened(randomUUID()), () => away.listen('owner', 'a', () => {})]) {
      const startedAt = performance.now();
      await opening();
      const took = performance.now() - startedAt;
      expect(took).toBeGreaterThan(90);
      expect(took).toBeLessThan(400);
    }
    expect(away.hearsOthers()).toBe(false);
  });

  it('an open resolves as soon as its channel is there', async () => {
    const liveLog = new RedisLiveLog(redis.url, new Lines());
    open.push(liveLog);
    const startedAt = performance.now();
    const opened = liveLog.opened().then(() => ({ took: performance.now() - startedAt, hears: liveLog.hearsOthers() }));
    await liveLog.start();
    const { took, hears } = await opened;
    expect(hears).toBe(true);
    expect(took).toBeLessThan(95);
  });
});

describe('A hub that is warned', () => {
  /** A PostgreSQL that knows one head, and answers when it is let. */
  function heads() {
    const asked: PromiseWithResolvers<unknown>[] = [];
    const query = () => {
      const answer = Promise.withResolvers<unknown>();
      asked.push(answer);
      return answer.promise;
    };
    const answer = (head: number) => asked.at(-1)?.resolve([{ task_id: 'task', head_event_id: String(head) }]);
    return { asked, answer, database: { query } as unknown as Database };
  }

  async function following(database: Database, liveLog: LiveLog) {
    const hub = new Hub(database, liveLog, new NoOpTransportDiagnosticsSink());
    hub.start();
    return { hub, channel: await hub.attach('task') };
  }

  it('compares all heads at once, and again when it is warned meanwhile', async () => {
    const { asked, answer, database } = heads();
    const { hub, channel } = await following(database, new InProcessLiveLog());
    try {
      hub.missed();
      hub.missed();
      await eventually('it compares', () => asked.length === 1, 500);
      hub.missed();
      hub.missed();
      answer(7);
      await eventually('the head is known', () => channel.head === 7, 500);
      await eventually('it compares again', () => asked.length === 2, 500);
      answer(7);
      await delay(300);
      expect(asked).toHaveLength(2);
      await eventually('it goes on once a second', () => asked.length === 3, 2_000);
      answer(7);
    } finally {
      await hub.stop();
    }
  });

  it('does nothing after its end', async () => {
    const { asked, database } = heads();
    const { hub } = await following(database, new InProcessLiveLog());
    await hub.stop();
    hub.missed();
    await delay(50);
    expect(asked).toEqual([]);
  });

  it('is warned by a Redis that is back', async () => {
    const { asked, answer, database } = heads();
    const liveLog = await overRedis();
    const { hub, channel } = await following(database, liveLog);
    try {
      await eventually('the first round is under way', () => asked.length === 1, 2_000);
      answer(1);
      await eventually('the head is known', () => channel.head === 1, 500);
      await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal');
      // The next round would be a second later.
      await eventually('it compares', () => asked.length === 2, 600);
      answer(2);
      await eventually('the head is known', () => channel.head === 2, 500);
    } finally {
      await hub.stop();
    }
  });
});
