import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { InProcessLiveLog } from '../../src/live-log/in-process-live-log.js';
import type { LiveLog, LiveLogFollower } from '../../src/tasks/ports/live-log.js';
import { RedisLiveLog } from '../../src/live-log/redis-live-log.js';
import { packs, unpacked } from '../../src/live-log/event-pack.js';
import { isBefore, STREAM_KEY } from '../../src/live-log/redis-stream.js';
import { StoredEvent } from '../../src/tasks/domain/stored-event.js';
import { Lines } from '../support/lines.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { eventually } from '../support/service.js';

/** Follows the tasks it is given, or all, and keeps what it received. */
class Recorder implements LiveLogFollower {
  readonly received: StoredEvent[] = [];

  constructor(private readonly taskIds?: readonly string[]) {}

  follows(taskId: string): boolean {
    return this.taskIds?.includes(taskId) ?? true;
  }

  receive(events: readonly StoredEvent[]): boolean {
    this.received.push(...events);
    return true;
  }

  missed(): void {}

  /** Each event once, in the order in which it first came. */
  get ids(): number[] {
    return [...new Set(this.received.map(({ eventId }) => eventId))];
  }
}

function eventOf(taskId: string, eventId: number, payload: unknown = { progress: eventId }): StoredEvent {
  return new StoredEvent(taskId, eventId, 'TASK_PROGRESS', '2026-11-21T10:00:00.000Z', JSON.stringify(payload));
}

const eventsOf = (taskId: string, from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => eventOf(taskId, from + n));

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

let redis: TestRedis;
const open: LiveLog[] = [];

beforeAll(async () => {
  redis = await startRedis();
}, 300_000);
afterEach(async () => {
  await Promise.all(open.splice(0).map((liveLog) => liveLog.stop()));
});
afterAll(() => redis.stop());

const implementations: Record<string, () => LiveLog> = {
  InProcessLiveLog: () => new InProcessLiveLog(),
  RedisLiveLog: () => new RedisLiveLog(redis.url, new Lines()),
};

async function started(liveLog: LiveLog): Promise<LiveLog> {
  open.push(liveLog);
  await liveLog.start();
  return liveLog;
}

describe.each(Object.entries(implementations))('%s', (_name, make) => {
  it('gives an event to local followers before publish returns', async () => {
    const liveLog = await started(make());
    const followers = [new Recorder(), new Recorder()];
    for (const follower of followers) liveLog.follow(follower);
    const events = eventsOf(randomUUID(), 1, 3);
    liveLog.publish(events);
    for (const { received } of followers) expect(received).toEqual(events);
  });

  it('gives a follower the events of the tasks it follows, and no others', async () => {
    const liveLog = await started(make());
    const [mine, another] = [randomUUID(), randomUUID()];
    const follower = new Recorder([mine]);
    liveLog.follow(follower);
    liveLog.publish([eventOf(another, 1), eventOf(mine, 1), eventOf(another, 2)]);
    liveLog.publish([eventOf(another, 3)]);
    expect(follower.received).toEqual([eventOf(mine, 1)]);
  });

  it('keeps the order in which the events of a task are published', async () => {
    const liveLog = await started(make());
    const follower = new Recorder();
    liveLog.follow(follower);
    const taskId = randomUUID();
    for (const event of eventsOf(taskId, 1, 500)) liveLog.publish([event]);
    expect(follower.received).toEqual(eventsOf(taskId, 1, 500));
  });

  it('passes on an event that is published twice', async () => {
    const liveLog = await started(make());
    const follower = new Recorder();
    liveLog.follow(follower);
    const event = eventOf(randomUUID(), 1);
    for (let time = 0; time < 2; time++) expect(() => liveLog.publish([event])).not.toThrow();
    expect(follower.ids).toEqual([1]);
  });

  it('publishes to local followers before it is started and after it is stopped', async () => {
    const liveLog = make();
    const follower = new Recorder();
    liveLog.follow(follower);
    const taskId = randomUUID();
    liveLog.publish([eventOf(taskId, 1)]);
    await liveLog.start();
    await liveLog.stop();
    liveLog.publish([eventOf(taskId, 2)]);
    expect(follower.ids).toEqual([1, 2]);
  });
});

describe('Two instances of RedisLiveLog', () => {
  /** One that publishes, and what a follower of these tasks receives on another. */
  async function pair(taskIds?: readonly string[]) {
    const [here, there] = [await started(make()), await started(make())];
    const follower = new Recorder(taskIds);
    there.follow(follower);
    return { here, there, follower };
  }
  const make = () => new RedisLiveLog(redis.url, new Lines());
  const received = (follower: Recorder, count: number, deadlineMs?: number) =>
    eventually(`${count} events arrive`, () => follower.ids.length >= count, deadlineMs);

  it('reach each other, byte for byte', async () => {
    const { here, there, follower } = await pair();
    const taskId = randomUUID();
    const hostile = { text: 'a\r\n\r\n$5\r\n \u2028 "😀" \ufeff', nothing: '', key: { ' ': [1.5, null] } };
    const event = eventOf(taskId, 9_007_199_254_740_991, hostile);
    here.publish([event]);
    await received(follower, 1);
    expect(follower.received).toEqual([event]);
    expect(follower.received[0]?.envelope).toBe(event.envelope);
    const back = new Recorder();
    here.follow(back);
    there.publish([eventOf(taskId, 1)]);
    await received(back, 1);
  });

  it('keep the order of a task, whatever else is published meanwhile', async () => {
    const tasks = Array.from({ length: 40 }, () => randomUUID());
    const { here, follower } = await pair();
    for (let id = 1; id <= 100; id++) here.publish(tasks.map((taskId) => eventOf(taskId, id)));
    await eventually('all arrive', () => follower.received.length >= 4_000);
    for (const taskId of tasks) {
      const ids = follower.received.filter((event) => event.taskId === taskId).map(({ eventId }) => eventId);
      expect(ids).toEqual(numbers(1, 100));
    }
  });

  it('bring only what is followed there', async () => {
    const tasks = Array.from({ length: 40 }, () => randomUUID());
    const mine = tasks.slice(0, 3);
    const { here, follower } = await pair(mine);
    for (const taskId of tasks) here.publish([eventOf(taskId, 1)]);
    here.publish([eventOf(mine[0] as string, 2)]);
    await received(follower, 2);
    await eventually('the followed ones arrive', () => follower.received.length >= 4);
    expect(new Set(follower.received.map(({ taskId }) => taskId))).toEqual(new Set(mine));
  });

  it('begin at the end: what was published before is history', async () => {
    const taskId = randomUUID();
    const here = await started(make());
    const witness = await started(make());
    const seen = new Recorder([taskId]);
    witness.follow(seen);
    here.publish(eventsOf(taskId, 1, 50));
    await received(seen, 50);
    const there = await started(make());
    const follower = new Recorder([taskId]);
    there.follow(follower);
    here.publish([eventOf(taskId, 51)]);
    await received(follower, 1);
    expect(follower.ids).toEqual([51]);
  });

  it('use one key and two connections each, however many tasks there are', async () => {
    await redis.cli('FLUSHALL');
    const { here, follower } = await pair();
    const before = await connections();
    const tasks = Array.from({ length: 500 }, () => randomUUID());
    for (const taskId of tasks) here.publish(eventsOf(taskId, 1, 3));
    await eventually('all arrive', () => follower.received.length >= 1_500);
    expect(await redis.cli('KEYS', '*')).toEqual([STREAM_KEY]);
    expect([before, await connections()]).toEqual([4, 4]);
  });

  const connections = async () =>
    ((await redis.cli('CLIENT', 'LIST')) as string).split('\n').filter((line) => / name=taskbridge-/.test(line)).length;

  it('bound the length of the stream', async () => {
    const { here, follower } = await pair();
    const taskId = randomUUID();
    // Each event is so large that it is a pack of its own.
    const padding = 'x'.repeat(20_000);
    for (let id = 1; id <= 5_000; id++) {
      here.publish([eventOf(taskId, id, padding)]);
      if (id % 500 === 0) await eventually('it arrives', () => follower.received.at(-1)?.eventId === id);
    }
    expect(Number(await redis.cli('XLEN', STREAM_KEY))).toBeLessThan(4_200);
  });

  it('say together what is published together', async () => {
    await redis.cli('FLUSHALL');
    const { here, follower } = await pair();
    const tasks = Array.from({ length: 300 }, () => randomUUID());
    for (const taskId of tasks) here.publish([eventOf(taskId, 1)]);
    await eventually('all arrive', () => follower.received.length === 300);
    expect(new Set(follower.received.map(({ taskId }) => taskId))).toEqual(new Set(tasks));
    expect(Number(await redis.cli('XLEN', STREAM_KEY))).toBeLessThan(5);
  });

  it('say nothing when nothing was stored', async () => {
    const { here, follower } = await pair();
    const taskId = randomUUID();
    here.publish([eventOf(taskId, 1)]);
    await received(follower, 1);
    const commands = async () =>
      Number(/cmdstat_xadd:calls=(\d+)/.exec(String(await redis.cli('INFO', 'commandstats')))?.[1]);
    const before = await commands();
    for (let n = 0; n < 20; n++) {
      here.publish([]);
      await redis.cli('PING');
    }
    // On the connection of the publisher it comes after everything that the twenty have sent.
    here.publish([eventOf(taskId, 2)]);
    await received(follower, 2);
    // Each of the two asks now and then whether Redis takes anything.
    expect((await commands()) - before).toBeLessThan(5);
  });

  it('do not read back what they published themselves', async () => {
    const { here, there, follower } = await pair();
    const own = new Recorder();
    here.follow(own);
    const taskId = randomUUID();
    here.publish(eventsOf(taskId, 1, 3));
    await received(follower, 3);
    there.publish([eventOf(taskId, 4)]);
    await received(own, 4);
    expect(own.received).toEqual(eventsOf(taskId, 1, 4));
  });

  it('go on where they were when their connections are cut', async () => {
    const { here, follower } = await pair();
    const taskId = randomUUID();
    here.publish([eventOf(taskId, 1)]);
    await received(follower, 1);
    // An entry that another instance adds while this reader is away.
    await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal');
    for (const id of [2, 3, 4]) await addByHand(taskId, id);
    await received(follower, 4, 5_000);
    expect(follower.ids).toEqual([1, 2, 3, 4]);
  });

  const addByHand = (taskId: string, eventId: number, entryId = '*') =>
    redis.cli('XADD', STREAM_KEY, entryId, 'by hand', ...packs([eventOf(taskId, eventId)]));

  it('skip an entry that they do not understand', async () => {
    const { here, follower } = await pair();
    const taskId = randomUUID();
    const heads = ['', 'x', `${taskId} 0 T now 2`, `${taskId} one T now 2`, `${taskId} 1 T`, `${taskId} 1 T now 3`];
    for (const pack of [...heads.map((head) => `${head}\n{}`), '', '\n', 'x', `${taskId} 1 T now -99\n{}`]) {
      await redis.cli('XADD', STREAM_KEY, '*', 'by hand', pack);
    }
    here.publish([eventOf(taskId, 7)]);
    await received(follower, 1);
    expect(follower.ids).toEqual([7]);
  });

  describe('when Redis', () => {
    /** Publishes one event after the other until one comes through; says which. */
    async function reconnected(here: LiveLog, follower: Recorder, taskId: string): Promise<number> {
      const before = follower.ids.length;
      let id = 1_000 + before;
      await eventually(
        'an event comes through',
        () => {
          here.publish([eventOf(taskId, id++)]);
          return follower.ids.length > before;
        },
        5_000,
      );
      return id;
    }

    const faults: Record<string, () => Promise<unknown>> = {
      'is flushed': () => redis.cli('FLUSHALL'),
      'restarts without its data': () => redis.restart({ keepData: false }),
      'restarts with its data': () => redis.restart({ keepData: true }),
    };

    it.each(Object.entries(faults))('%s, reach each other again within 5 s', async (_fault, strike) => {
      const { here, follower } = await pair();
      const taskId = randomUUID();
      here.publish([eventOf(taskId, 1)]);
      await received(follower, 1);
      await strike();
      await reconnected(here, follower, taskId);
    });

    it('has lost its data and its clock is behind, begin anew within 5 s', async () => {
      const { here, follower } = await pair();
      const taskId = randomUUID();
      await addByHand(taskId, 1, '18446744073709551614-0');
      await received(follower, 1);
      await redis.cli('FLUSHALL');
      await reconnected(here, follower, taskId);
    });

    const refusals: Record<string, readonly [strike: () => Promise<unknown>, heal: () => Promise<unknown>]> = {
      'is read-only': [() => redis.cli('REPLICAOF', '127.0.0.1', '1'), () => redis.cli('REPLICAOF', 'NO', 'ONE')],
      'wants replicas that are not there': [
        () => redis.cli('CONFIG', 'SET', 'min-replicas-to-write', '1'),
        () => redis.cli('CONFIG', 'SET', 'min-replicas-to-write', '0'),
      ],
      'is out of memory': [
        () => redis.cli('CONFIG', 'SET', 'maxmemory', '1'),
        () => redis.cli('CONFIG', 'SET', 'maxmemory', '0'),
      ],
    };

    it.each(Object.entries(refusals))('%s, say so once and come back within 5 s', async (_fault, [strike, heal]) => {
      const log = new Lines();
      const here = await started(new RedisLiveLog(redis.url, log));
      const there = await started(make());
      const follower = new Recorder();
      there.follow(follower);
      await strike();
      const taskId = randomUUID();
      await eventually('it is noticed', () => {
        expect(() => here.publish([eventOf(taskId, 1)])).not.toThrow();
        return log.events.includes('live_log.redis_lost');
      });
      await heal();
      await reconnected(here, follower, taskId);
      // The follower may have read the entry before the publisher has read that it was stored.
      await eventually('it is said', () => log.events.length > 1);
      expect(log.events).toEqual(['live_log.redis_lost', 'live_log.redis_back']);
    });

    it('does not answer, keep a bounded backlog, and go on when it does', async () => {
      await redis.cli('FLUSHALL');
      const log = new Lines();
      const here = await started(new RedisLiveLog(redis.url, log));
      const there = await started(make());
      const taskId = randomUUID();
      const follower = new Recorder([taskId]);
      there.follow(follower);
      const large = 'x'.repeat(1024 * 1024);
      redis.pause();
      try {
        for (let id = 1; id <= 100; id++) {
          here.publish([eventOf(randomUUID(), id, large)]);
          await new Promise(setImmediate);
        }
        await eventually('it is noticed', () => log.events.includes('live_log.redis_lost'));
      } finally {
        redis.resume();
      }
      await reconnected(here, follower, taskId);
      expect(Number(await redis.cli('XLEN', STREAM_KEY))).toBeLessThan(50);
    });
  });

  it('start without Redis, say so once, and find it when it is there', async () => {
    await redis.kill();
    const log = new Lines();
    const here = await started(new RedisLiveLog(redis.url, log));
    const there = await started(make());
    const follower = new Recorder();
    there.follow(follower);
    const taskId = randomUUID();
    here.publish([eventOf(taskId, 1)]);
    await redis.restart({ keepData: false });
    await eventually('it is back', () => log.events.includes('live_log.redis_back'), 5_000);
    await eventually(
      'an event comes through',
      () => {
        here.publish([eventOf(taskId, 2)]);
        return follower.ids.length > 0;
      },
      5_000,
    );
    expect(log.events).toEqual(['live_log.redis_lost', 'live_log.redis_back']);
  });

  it('hand over what was published last when they stop', async () => {
    const { here, follower } = await pair();
    const taskId = randomUUID();
    here.publish(eventsOf(taskId, 1, 900));
    await here.stop();
    await received(follower, 900);
  });

  it('stop promptly, also while Redis does not answer', async () => {
    const { here } = await pair();
    redis.pause();
    try {
      here.publish([eventOf(randomUUID(), 1)]);
      const startedAt = performance.now();
      await here.stop();
      expect(performance.now() - startedAt).toBeLessThan(2_000);
    } finally {
      redis.resume();
    }
  });
});

describe('A pack', () => {
  const all = (pack: string) => unpacked(Buffer.from(pack), () => true);

  it('gives back what is in it, in its order, whatever the payloads are', () => {
    const taskId = randomUUID();
    const texts = ['', '\n', 'ä\u2028😀', ' 5\n', 'a'.repeat(300)];
    const events = texts.flatMap((text, n) => [eventOf(taskId, n + 1, text), eventOf(randomUUID(), 1, { text })]);
    const [pack, ...more] = packs(events);
    expect(more).toEqual([]);
    expect(all(pack as string)).toEqual(events);
    const followed = unpacked(Buffer.from(pack as string), (one) => one === taskId);
    expect(followed).toEqual(events.filter((event) => event.taskId === taskId));
  });

  it('is bounded, or has a single event', () => {
    const small = eventsOf(randomUUID(), 1, 2_000);
    const large = eventOf(randomUUID(), 1, 'x'.repeat(60_000));
    const made = packs([...small, large, ...small]);
    expect(made.flatMap(all)).toEqual([...small, large, ...small]);
    for (const pack of made) expect(all(pack).length === 1 || pack.length < 17_000).toBe(true);
    expect(made.filter((pack) => pack.includes('xxx')).map((pack) => all(pack).length)).toEqual([1]);
  });
});

describe('The stream', () => {
  it('order the ids of entries as Redis does', () => {
    const ids = [
      '0-0',
      '0-1',
      '0-9',
      '0-10',
      '9-0',
      '10-0',
      '1700000000000-0',
      '18446744073709551614-1',
      '18446744073709551615-0',
    ];
    for (const [index, id] of ids.entries()) {
      for (const [other, otherId] of ids.entries())
        expect([id, otherId, isBefore(id, otherId)]).toEqual([id, otherId, index < other]);
    }
  });
});
