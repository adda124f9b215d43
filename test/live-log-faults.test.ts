import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Hub } from '../src/delivery/hub.js';
import { InProcessLiveLog } from '../src/delivery/in-process-live-log.js';
import { OpenSubscription } from '../src/delivery/open-subscription.js';
import type { StoredEvent } from '../src/tasks/stored-event.js';
import { SubmitTask } from '../src/tasks/submit-task.js';
import { uniqueId } from './support/client.js';
import { storedEnvelopes } from './support/fold.js';
import { seededRandom } from './support/follow.js';
import { createTestDatabase } from './support/postgres.js';
import { createReplica, OWNER, type Replica } from './support/replica.js';
import { nextEvents } from './support/next-events.js';

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

describe('A live log that', () => {
  const liveLog = new FaultyLiveLog();
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let replica: Replica;

  beforeAll(async () => {
    database = await createTestDatabase();
    const handlers = {
      'test.steps': async (_: unknown, { progress }: { progress: (n: number) => Promise<void> }) => {
        // Not all are waited for: some come alone, some together.
        for (let n = 1; n <= EVENTS; n++) await Promise.race([progress(n), n % 3 > 0 && Promise.resolve()]);
      },
    };
    replica = await createReplica(database.appUrl, { liveLog, handlers });
    replica.get(Hub).start();
    replica.startWorker();
  });

  afterAll(async () => {
    await replica.stop();
    await database.drop();
  });

  /** What a subscriber is given until the end of the task, and how many milliseconds after it that is. */
  const followed = async (taskId: string) => {
    const subscription = await replica.get(OpenSubscription).execute(OWNER, taskId, undefined, 'sse');
    const given: StoredEvent[] = [];
    for (let events; (events = await nextEvents(subscription)); ) given.push(...events);
    subscription.close();
    return { given, lateMs: Date.now() - Date.parse(given.at(-1)?.createdAt ?? '') };
  };

  it.each(Object.entries(faults))(
    '%s events makes delivery late, and nothing else',
    async (_name, fault) => {
      liveLog.fault = fault;
      kept.clear();
      const runs = Array.from({ length: full ? 100 : 10 }, async () => {
        const submission = { clientRequestId: uniqueId(), taskType: 'test.steps' };
        const { taskId } = await replica.get(SubmitTask).execute(OWNER, submission);
        const [one, other] = await Promise.all([followed(taskId), followed(taskId)]);
        for (const { given, lateMs } of [one, other]) {
          expect(given.map(({ eventId }) => eventId)).toEqual(Array.from({ length: EVENTS + 2 }, (_, n) => n + 1));
          expect(given.map(({ envelope }) => envelope)).toEqual(await storedEnvelopes(database.superuserUrl, taskId));
          expect(lateMs).toBeLessThan(LATEST_MS);
        }
      });
      await Promise.all(runs);
    },
    20_000,
  );
});
