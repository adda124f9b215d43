import { randomUUID } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Hub } from '../../src/following/hub.js';
import { LiveLog, type LiveLogFollower } from '../../src/tasks/ports/live-log.js';
import { OpenSubscription } from '../../src/following/open-subscription.js';
import type { Subscription } from '../../src/following/subscription.js';
import { AppendEvents } from '../../src/tasks/append-events.js';
import { ClaimTasks } from '../../src/tasks/claim-tasks.js';
import type { Lease } from '../../src/tasks/domain/lease.js';
import { messageEvent } from '../../src/tasks/domain/event-payloads.js';
import { CursorAhead, TaskNotFound } from '../../src/tasks/domain/tasks.errors.js';
import { EndAttempt } from '../../src/tasks/end-attempt.js';
import { StoredEvent } from '../../src/tasks/domain/stored-event.js';
import { connected, storedEnvelopes } from '../support/fold.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { PostgresProxy, type RoundTrip } from '../support/postgres-proxy.js';
import { createReplica, OWNER, type Replica, waitingTask } from '../support/replica.js';
import { nextEvents } from '../support/next-events.js';

/** A live log that keeps published events until a test delivers them: to all followers, any number of times, in any order. */
class HeldLiveLog extends LiveLog {
  /** What is on its way, by task. */
  readonly wire = new Map<string, StoredEvent[]>();
  readonly #followers: LiveLogFollower[] = [];

  /** While true everything arrives at once, as with a live log that works. */
  constructor(public faithful = false) {
    super();
  }

  override publish(events: readonly StoredEvent[]): void {
    for (const event of events) this.of(event.taskId).push(event);
    if (this.faithful) this.deliver(events);
  }

  deliver(events: readonly StoredEvent[]): void {
    for (const follower of this.#followers) follower.receive(events);
  }

  of(taskId: string): StoredEvent[] {
    let events = this.wire.get(taskId);
    if (!events) this.wire.set(taskId, (events = []));
    return events;
  }

  override follow(follower: LiveLogFollower): void {
    this.#followers.push(follower);
  }
  override async start(): Promise<void> {}
  override async stop(): Promise<void> {}
}

let test: TestDatabase;
let liveLog: HeldLiveLog;
let replica: Replica;
const opened: Replica[] = [];

beforeAll(async () => {
  test = await createTestDatabase();
});

afterAll(() => test.drop());

beforeEach(async () => {
  liveLog = new HeldLiveLog();
  replica = await follower();
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.stop()));
});

/** A replica whose subscribers hear of `liveLog`. */
async function follower(url = test.appUrl): Promise<Replica> {
  const one = await deafReplica(url);
  one.get(Hub).start();
  return one;
}

/** One whose hub has not begun to listen, nor to compare heads. */
async function deafReplica(url = test.appUrl): Promise<Replica> {
  const one = await createReplica(url, { liveLog });
  opened.push(one);
  return one;
}

/** A running task whose events a test commits one by one. */
class Author {
  #batchSeq = 0;

  constructor(
    private readonly by: Replica,
    private readonly lease: Lease,
  ) {}

  static async begin(by = replica): Promise<Author> {
    // A type of its own, so that the claim takes this task.
    const taskType = `test.${randomUUID()}`;
    await waitingTask(by.database, taskType);
    const [lease] = await by.get(ClaimTasks).execute({ workerId: 'w', principalId: 'w' }, [taskType], 1);
    if (!lease) throw new Error('the task is not claimed');
    return new Author(by, lease);
  }

  get taskId(): string {
    return this.lease.identity.taskId;
  }

  /** Resolves after the commit. */
  async say(...messages: string[]): Promise<void> {
    this.#batchSeq += 1;
    const { taskId, lease } = this;
    const events = messages.map((message) => messageEvent(message));
    const request = { taskId, leaseToken: lease.token, batchSeq: this.#batchSeq, events, principalId: 'w' };
    await this.by.get(AppendEvents).execute(request);
  }

  async end(): Promise<void> {
    const ending = { kind: 'complete', token: this.lease.token, result: { text: 'over' } } as const;
    await this.by.get(EndAttempt).execute(this.taskId, ending, {});
  }

  stored(): Promise<string[]> {
    return storedEnvelopes(test.superuserUrl, this.taskId);
  }
}

function open(taskId: string, cursor = 0, on = replica): Promise<Subscription> {
  return on.get(OpenSubscription).execute(OWNER, taskId, String(cursor), 'sse');
}

/** All that a subscription yields, as the bytes that go to clients. `pace` is how many turns it takes over each piece. */
async function readToEnd(subscription: Subscription, pace = 0): Promise<string[]> {
  const received: string[] = [];
  for (let events; (events = await nextEvents(subscription)); ) {
    received.push(...events.map(({ envelope }) => envelope));
    for (let rested = 0; rested < pace; rested += 1) await turn();
  }
  return received;
}

/** Fails instead of hanging. The head comparison is due every second. */
async function soon<T>(what: string, outcome: Promise<T>, withinMs = 5_000): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`not within ${withinMs} ms: ${what}`)), withinMs);
  try {
    return await Promise.race([outcome, late]);
  } finally {
    clearTimeout(timer);
  }
}

type Move =
  | { readonly kind: 'commit'; readonly messages: readonly string[] }
  /** One of the waiting hints arrives, 0 the newest. `again` keeps it, so that it can arrive once more. */
  | { readonly kind: 'hint'; readonly which: number; readonly again: boolean }
  | { readonly kind: 'lose'; readonly which: number }
  | { readonly kind: 'subscribe'; readonly cursor: number; readonly pace: number }
  | { readonly kind: 'rest' };

interface Story {
  readonly moves: readonly Move[];
  /** What becomes of the hints that are left when the task has ended. */
  readonly rest: 'lost' | 'delivered' | 'delivered backwards';
}

const which = fc.oneof({ weight: 3, arbitrary: fc.nat(2) }, { weight: 1, arbitrary: fc.nat(20) });
const move: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('commit' as const),
      messages: fc.array(fc.oneof(fc.string({ unit: 'binary', maxLength: 6 }), fc.constant('\n\ndata: \u2028"\\')), {
        minLength: 1,
        maxLength: 3,
      }),
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('hint' as const), which, again: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('lose' as const), which }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('subscribe' as const),
      cursor: fc.double({ min: 0, max: 1, noNaN: true }),
      pace: fc.constantFrom(0, 0, 1, 5, 20),
    }),
  },
  { weight: 2, arbitrary: fc.constant<Move>({ kind: 'rest' }) },
);

const story: fc.Arbitrary<Story> = fc.record({
  moves: fc.array(move, { maxLength: 25 }),
  rest: fc.constantFrom('lost', 'delivered', 'delivered backwards'),
});

/** Plays one story. Returns the received and the expected events of each subscriber. */
async function play({ moves, rest }: Story): Promise<{ received: string[]; expected: string[] }[]> {
  const author = await Author.begin();
  const wire = liveLog.of(author.taskId);
  const readers: { cursor: number; received: Promise<string[]> }[] = [];
  let head = 1;
  const subscribe = async (cursor: number, pace: number) => {
    const subscription = await open(author.taskId, cursor);
    readers.push({ cursor, received: readToEnd(subscription, pace).finally(() => subscription.close()) });
  };
  // The hub hears of a task only while somebody subscribes to it.
  await subscribe(1, 0);
  for (const one of moves) {
    if (one.kind === 'commit') {
      await author.say(...one.messages);
      head += one.messages.length;
    } else if (one.kind === 'subscribe') await subscribe(Math.round(one.cursor * head), one.pace);
    else if (one.kind === 'rest') await turn();
    else {
      const at = Math.max(0, wire.length - 1 - one.which);
      const hint = wire[at];
      if (one.kind === 'lose' || !one.again) wire.splice(at, 1);
      if (one.kind === 'hint' && hint) liveLog.deliver([hint]);
    }
  }
  // One more that attaches while the end is being committed.
  await Promise.all([author.end(), subscribe(head, 0)]);
  if (rest === 'delivered') liveLog.deliver(wire);
  if (rest === 'delivered backwards') for (const hint of wire.toReversed()) liveLog.deliver([hint]);
  const stored = await author.stored();
  return Promise.all(
    readers.map(async ({ cursor, received }) => ({
      received: await soon('a subscriber comes to the end', received),
      expected: stored.slice(cursor),
    })),
  );
}

describe('A subscription', () => {
  it('yields what is stored after its cursor, once, in order, byte for byte, and then the end, whatever the live log does', async () => {
    const together = fc.array(story, { minLength: 25, maxLength: 25 });
    await fc.assert(
      // Many tasks at a time: what waits for the head comparison waits together.
      fc.asyncProperty(together, async (stories) => {
        for (const read of (await Promise.all(stories.map(play))).flat()) expect(read.received).toEqual(read.expected);
      }),
      { numRuns: 5, endOnFailure: true },
    );
  }, 60_000);

  it('goes on within two seconds of a commit when every hint is lost', async () => {
    const author = await Author.begin();
    const subscription = await open(author.taskId, 1);
    for (const message of ['first', 'second']) {
      const next = nextEvents(subscription);
      await author.say(message);
      expect(await soon('the event arrives', next, 2_000)).toHaveLength(1);
    }
    const next = nextEvents(subscription);
    await author.end();
    expect(await soon('the end arrives', next, 2_000)).toHaveLength(1);
    expect(await nextEvents(subscription)).toBeNull();
  });

  it('yields history without waiting for a hint or a head comparison', async () => {
    const author = await Author.begin();
    await author.say('a', 'b');
    const subscription = await open(author.taskId, 1, await deafReplica());
    expect(await soon('history is there', nextEvents(subscription), 900)).toHaveLength(2);
  });

  it('is over at once when it begins at the end', async () => {
    const author = await Author.begin();
    await author.end();
    const subscription = await open(author.taskId, 2);
    expect(subscription.isOver).toBe(true);
    expect(await nextEvents(subscription)).toBeNull();
  });

  it('is not over while the terminal event is still to come', async () => {
    const author = await Author.begin();
    await author.end();
    const subscription = await open(author.taskId, 1);
    expect(subscription.isOver).toBe(false);
    expect((await nextEvents(subscription))?.map(({ type }) => type)).toEqual(['TASK_COMPLETED']);
    expect(subscription.isOver).toBe(true);
  });

  it('gives a reader that is far behind everything from the log', async () => {
    liveLog.faithful = true;
    const author = await Author.begin();
    const subscription = await open(author.taskId);
    // These are more events than the hub keeps of a task.
    for (let batch = 0; batch < 7; batch += 1)
      await author.say(...Array.from({ length: 100 }, (_, i) => `${batch}.${i}`));
    await author.end();
    expect(await readToEnd(subscription)).toEqual(await author.stored());
  });

  it('ends a next() that waits when it is closed', async () => {
    const author = await Author.begin();
    const subscription = await open(author.taskId, 1);
    const next = nextEvents(subscription);
    subscription.close();
    expect(await soon('next() ends', next, 500)).toBeNull();
  });

  it('yields nothing more when it is closed, whatever is there', async () => {
    const author = await Author.begin();
    const subscription = await open(author.taskId, 0);
    subscription.close();
    expect(await nextEvents(subscription)).toBeNull();
  });

  it('tells a waiting poll that something came', async () => {
    liveLog.faithful = true;
    const author = await Author.begin();
    const subscription = await open(author.taskId, 1);
    const moved = subscription.movedWithin(60_000);
    await author.say('here');
    expect(await moved).toBe(true);
  });

  it('tells a waiting poll that nothing came', async () => {
    const author = await Author.begin();
    const subscription = await open(author.taskId, 1);
    expect(await subscription.movedWithin(1)).toBe(false);
  });

  it('ends with TaskNotFound for a reader of a task that was removed', async () => {
    const author = await Author.begin();
    await author.say('gone');
    const subscription = await open(author.taskId, 1);
    await remove(author.taskId);
    await expect(nextEvents(subscription)).rejects.toThrow(TaskNotFound);
  });

  it('ends with TaskNotFound for a reader that waits for a removed task', async () => {
    const author = await Author.begin();
    const subscription = await open(author.taskId, 1);
    const next = nextEvents(subscription);
    await remove(author.taskId);
    await expect(soon('next() ends', next)).rejects.toThrow(TaskNotFound);
  });
});

async function remove(taskId: string): Promise<void> {
  await connected(test.superuserUrl, async (superuser) => {
    await superuser.query('DELETE FROM taskbridge.events WHERE task_id = $1', [taskId]);
    await superuser.query('DELETE FROM taskbridge.proj_tasks WHERE task_id = $1', [taskId]);
  });
}

describe('A live event that was never stored', () => {
  const forged = (taskId: string, eventId: number) =>
    new StoredEvent(taskId, eventId, 'TASK_MESSAGE', '2026-11-30T00:00:00.000Z', '{"message":"forged"}');

  it('further up is shown to nobody, ends no stream, and keeps none of what comes later', async () => {
    liveLog.faithful = true;
    const author = await Author.begin();
    const subscription = await open(author.taskId);
    const reading = readToEnd(subscription);
    liveLog.deliver([forged(author.taskId, 7)]);
    await author.say('a', 'b');
    await author.end();
    expect(await soon('the end', reading)).toEqual(await author.stored());
  });

  it('at the next id is forgotten when the heads are compared, and the stream that showed it ends', async () => {
    liveLog.faithful = true;
    const author = await Author.begin();
    const deceived = await open(author.taskId, 1);
    liveLog.deliver([forged(author.taskId, 2)]);
    expect((await nextEvents(deceived))?.map(({ eventId }) => eventId)).toEqual([2]);
    await expect(soon('the comparison', nextEvents(deceived))).rejects.toThrow(CursorAhead);
    deceived.close();
    const subscription = await open(author.taskId);
    const reading = readToEnd(subscription);
    await author.say('true');
    await author.end();
    expect(await soon('the end', reading)).toEqual(await author.stored());
  });
});

describe('The hub', () => {
  it('follows a task as long as somebody subscribes to it', async () => {
    const author = await Author.begin();
    const hub = replica.get(Hub);
    const [first, second] = [await open(author.taskId), await open(author.taskId)];
    first.close();
    first.close();
    expect(hub.follows(author.taskId)).toBe(true);
    second.close();
    expect(hub.follows(author.taskId)).toBe(false);
  });

  // What is none is read less eagerly: a replica's own events come back to it over Redis.
  it('says whether there was news in what it received', async () => {
    const author = await Author.begin();
    const hub = replica.get(Hub);
    const subscription = await open(author.taskId, 1);
    await author.say('a', 'b');
    const [first, second] = liveLog.of(author.taskId).slice(-2) as [StoredEvent, StoredEvent];
    expect(hub.receive([first])).toBe(true);
    expect(hub.receive([first, second])).toBe(true);
    expect(hub.receive([first, second])).toBe(false);
    subscription.close();
  });

  it('does not follow a task that nobody could subscribe to', async () => {
    const author = await Author.begin();
    await expect(open(author.taskId, 99)).rejects.toMatchObject({ code: 'CURSOR_AHEAD' });
    expect(replica.get(Hub).follows(author.taskId)).toBe(false);
  });
});

describe('Between a replica and PostgreSQL', () => {
  let proxy: PostgresProxy;
  beforeEach(async () => {
    proxy = await PostgresProxy.start(test.appUrl);
  });
  afterEach(async () => {
    proxy.resume();
    await Promise.all(opened.splice(0).map((one) => one.stop()));
    await proxy.close();
  });

  const readsLog = ({ sql }: RoundTrip) => /FROM taskbridge\.events WHERE task_id = \$1 AND event_id >/.test(sql);
  const comparesHeads = ({ sql }: RoundTrip) => /SELECT task_id, head_event_id, status/.test(sql);

  it('nothing of a task is published before its commit, and nothing of others waits for it', async () => {
    const writer = await follower(proxy.url);
    const [held, other] = [await Author.begin(writer), await Author.begin(writer)];
    liveLog.wire.clear();
    const commit = proxy.holdCommit(({ parameters }) => parameters.includes(held.taskId));
    const ended = held.end();
    await commit.held;
    await other.end();
    const publishedMeanwhile = [...liveLog.wire.keys()];
    const subscription = await open(held.taskId, 0);
    const before = await nextEvents(subscription);
    commit.release();
    await ended;
    liveLog.deliver(liveLog.of(held.taskId));
    expect(publishedMeanwhile).toEqual([other.taskId]);
    expect(before?.map(({ type }) => type)).toEqual(['TASK_STARTED']);
    expect((await nextEvents(subscription))?.map(({ type }) => type)).toEqual(['TASK_COMPLETED']);
  });

  it('a log that cannot be read for a while makes delivery late, and nothing else', async () => {
    const reader = await follower(proxy.url);
    const author = await Author.begin();
    await author.say('a', 'b');
    const subscription = await open(author.taskId, 0, reader);
    const cuts = [proxy.before(1, { matches: readsLog }), proxy.before(1, { matches: readsLog })];
    const received = readToEnd(subscription);
    await Promise.all(cuts);
    await author.end();
    expect(await soon('the subscriber comes to the end', received)).toEqual(await author.stored());
  });

  it('a head comparison that fails is made again', async () => {
    const reader = await follower(proxy.url);
    const author = await Author.begin();
    const subscription = await open(author.taskId, 1, reader);
    const cut = proxy.before(1, { matches: comparesHeads });
    const next = nextEvents(subscription);
    await author.say('a');
    await soon('a head comparison is cut', cut);
    expect(await soon('the event arrives', next)).toHaveLength(1);
  });

  it('the heads of 10 000 followed tasks are compared in one query, and the next begins when it is answered', async () => {
    const reader = await follower(proxy.url);
    const author = await Author.begin();
    const hub = reader.get(Hub);
    const others = await Promise.all(Array.from({ length: 9_999 }, () => hub.attach(randomUUID())));
    const subscription = await open(author.taskId, 1, reader);
    const begun: number[] = [];
    const countsAll = (trip: RoundTrip) => comparesHeads(trip) && trip.parameters.length > 10_000 * 36;
    // A PostgreSQL that takes longer for it than the time between two comparisons.
    proxy.delay(1_200, (trip) => countsAll(trip) && begun.push(performance.now()) > 0);
    const next = nextEvents(subscription);
    await author.say('a');
    expect(await soon('the event arrives', next, 20_000)).toHaveLength(1);
    const first = begun.length;
    await soon(
      'two more',
      new Promise<void>((resolve) => {
        const look = setInterval(() => begun.length >= first + 2 && (clearInterval(look), resolve()), 20);
      }),
      20_000,
    );
    expect(proxy.count(comparesHeads)).toBe(proxy.count(countsAll));
    for (const [at, time] of begun.entries()) if (at > 0) expect(time - (begun[at - 1] ?? 0)).toBeGreaterThan(2_150);
    for (const other of others) hub.detach(other);
    subscription.close();
  }, 60_000);

  it('live events cost no read', async () => {
    liveLog.faithful = true;
    const reader = await follower(proxy.url);
    const author = await Author.begin();
    const subscription = await open(author.taskId, 1, reader);
    const received = readToEnd(subscription);
    for (const message of ['a', 'b', 'c']) await author.say(message);
    await author.end();
    await received;
    expect(proxy.count(readsLog)).toBe(0);
  });

  it('subscribers that stand at the same place share one read', async () => {
    const reader = await follower(proxy.url);
    const author = await Author.begin();
    await author.end();
    const subscriptions = await Promise.all(Array.from({ length: 20 }, () => open(author.taskId, 0, reader)));
    const received = await Promise.all(subscriptions.map((subscription) => readToEnd(subscription)));
    expect(proxy.count(readsLog)).toBe(1);
    expect(received).toEqual(Array(20).fill(await author.stored()));
  });
});
