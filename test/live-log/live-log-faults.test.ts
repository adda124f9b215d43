import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Hub } from '../../src/following/hub.js';
import { InProcessLiveLog } from '../../src/live-log/in-process-live-log.js';
import { LiveLog } from '../../src/tasks/ports/live-log.js';
import { OpenSubscription } from '../../src/following/open-subscription.js';
import { RedisLiveLog } from '../../src/live-log/redis-live-log.js';
import { Log } from '../../src/observability/log.js';
import type { StoredEvent } from '../../src/tasks/domain/stored-event.js';
import { SubmitTask } from '../../src/tasks/submit-task.js';
import { uniqueId } from '../support/client.js';
import { storedEnvelopes } from '../support/fold.js';
import { seededRandom } from '../support/follow.js';
import { createTestDatabase } from '../support/postgres.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { RedisProxy, type RedisTrip } from '../support/redis-proxy.js';
import { createReplica, OWNER, type Replica } from '../support/replica.js';
import { nextEvents } from '../support/next-events.js';

const full = process.env['FULL'] === '1';
const EVENTS = 60;
/** The head comparison comes once a second. A machine that is busy is later than that. */
const LATEST_MS = 4_000;

type Fault = (event: StoredEvent, pass: (event: StoredEvent) => void, random: () => number) => void;

const kept = new Map<string, StoredEvent>();

const faults: Record<string, Fault> = {
  drops: (event, pass, random) => {
    if (random() < 0.7) pass(event);
  },
  repeats: (event, pass, random) => {
    pass(event);
    const earlier = kept.get(event.taskId);
    if (earlier) pass(earlier);
    if (random() < 0.3) kept.set(event.taskId, event);
  },
  reorders: (event, pass, random) => {
    const late = kept.get(event.taskId);
    if (late) {
      pass(event);
      pass(late);
      kept.delete(event.taskId);
    } else if (random() < 0.5) kept.set(event.taskId, event);
    else pass(event);
  },
  'loses the last of': (event, pass) => {
    if (event.type !== 'TASK_COMPLETED') pass(event);
  },
  loses: () => {},
};

/** Gives on what the fault lets pass, one event at a time. */
class FaultyLiveLog extends InProcessLiveLog {
  fault: Fault = (event, pass) => pass(event);
  readonly #random = seededRandom(4);

  override publish(events: readonly StoredEvent[]): void {
    for (const event of events) this.fault(event, (passed) => super.publish([passed]), this.#random);
  }
}

const handlers = {
  'test.steps': async (_: unknown, { progress }: { progress: (n: number) => Promise<void> }) => {
    // The loop waits for two of three, so some events come alone and some together.
    for (let n = 1; n <= EVENTS; n++) await Promise.race([progress(n), n % 3 > 0 && Promise.resolve()]);
  },
};

/** Submits a task, follows it twice on `reader`, and compares the arrived events, and their delays, with the stored ones. */
async function submitAndFollow(writer: Replica, reader: Replica, superuserUrl: string): Promise<void> {
  const { taskId } = await writer
    .get(SubmitTask)
    .execute(OWNER, { clientRequestId: uniqueId(), taskType: 'test.steps' });
  const followed = async () => {
    const subscription = await reader.get(OpenSubscription).execute(OWNER, taskId, undefined, 'sse');
    const given: StoredEvent[] = [];
    for (let events; (events = await nextEvents(subscription)); ) given.push(...events);
    subscription.close();
    return { given, lateMs: Date.now() - Date.parse(given.at(-1)?.createdAt ?? '') };
  };
  for (const { given, lateMs } of await Promise.all([followed(), followed()])) {
    expect(given.map(({ eventId }) => eventId)).toEqual(Array.from({ length: EVENTS + 2 }, (_, n) => n + 1));
    expect(given.map(({ envelope }) => envelope)).toEqual(await storedEnvelopes(superuserUrl, taskId));
    expect(lateMs).toBeLessThan(LATEST_MS);
  }
}

describe('A live log that', () => {
  const liveLog = new FaultyLiveLog();
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let replica: Replica;

  beforeAll(async () => {
    database = await createTestDatabase();
    replica = await createReplica(database.appUrl, { liveLog, handlers });
    replica.get(Hub).start();
    replica.startWorker();
  }, 300_000);

  afterAll(async () => {
    await replica.stop();
    await database.drop();
  });

  it.each(Object.entries(faults))(
    '%s events makes delivery late, and nothing else',
    async (_name, fault) => {
      liveLog.fault = fault;
      kept.clear();
      const follow = () => submitAndFollow(replica, replica, database.superuserUrl);
      await Promise.all(Array.from({ length: full ? 100 : 10 }, follow));
    },
    20_000,
  );
});

describe('A Redis whose', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let redis: TestRedis;
  let proxy: RedisProxy;
  let writer: Replica;
  /** Runs nothing: every event comes from the other one. */
  let reader: Replica;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startRedis()]);
    proxy = await RedisProxy.start(redis.url);
    const replica = () =>
      createReplica(database.appUrl, { liveLog: new RedisLiveLog(proxy.url, new Silent()), handlers });
    [writer, reader] = await Promise.all([replica(), replica()]);
    for (const { get } of [writer, reader]) {
      get(Hub).start();
      await get(LiveLog).start();
    }
    writer.startWorker();
  }, 120_000);

  afterAll(async () => {
    proxy.resume();
    await Promise.all([writer.stop(), reader.stop()]);
    await proxy.close();
    await Promise.all([redis.stop(), database.drop()]);
  });

  const isXadd = ({ name, args }: RedisTrip) => name === 'XADD' && !args.includes('NOMKSTREAM');
  const isXread = ({ name }: RedisTrip) => name === 'XREAD';
  const isIn = { XADD: isXadd, XREAD: isXread };
  /** One after the other. */
  const cutEvery = async (side: 'before' | 'after', name: keyof typeof isIn, times: number) => {
    for (let n = 0; n < times; n++) await proxy[side](n % 3 === 0 ? 1 : 10, { matches: isIn[name] });
  };

  const steps: Record<string, () => unknown> = {
    'XADD requests get lost': () => cutEvery('before', 'XADD', 4),
    'XADDs are applied, and their replies lost': () => cutEvery('after', 'XADD', 4),
    'XADDs come late': () => proxy.delay(20, isXadd),
    'XADDs come so late that they count as lost': () => proxy.delay(1_200, isXadd),
    'replies to XREADs get lost': () => cutEvery('after', 'XREAD', 2),
  };

  it.each(Object.entries(steps))(
    '%s makes delivery late, and nothing else',
    async (_name, step) => {
      const before = proxy.count(isXadd);
      let isDone = false;
      void Promise.resolve(step()).then(() => (isDone = true));
      const follow = () => submitAndFollow(writer, reader, database.superuserUrl);
      await Promise.all(Array.from({ length: full ? 50 : 5 }, follow));
      while (!isDone) await follow();
      expect(proxy.count(isXadd)).toBeGreaterThan(before);
      proxy.resume();
    },
    30_000,
  );
});

class Silent extends Log {
  override debug() {}
  override info() {}
  override warn() {}
  override error() {}
}
