import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { DatabaseUnavailable } from '../../src/database/database.errors.js';
import { AppendQueue } from '../../src/tasks/append-events.js';
import { messageEvent } from '../../src/tasks/domain/event-payloads.js';
import { TooMuchWaiting } from '../../src/tasks/domain/tasks.errors.js';
import type { AppendOutcome, AppendRequest } from '../../src/tasks/store/append-batch.js';

type Settled = Exclude<AppendOutcome, { outcome: 'locked' }>;

/** One call of the queue that the store has not answered yet. */
interface Batch {
  readonly requests: readonly AppendRequest[];
  answer(outcome?: (request: AppendRequest) => AppendOutcome): void;
  fail(error: unknown): void;
}

/** The store as the queue sees it; each call waits until a test answers it. */
class WaitingStore {
  readonly batches: Batch[] = [];
  readonly open = new Set<Batch>();
  #arrived: (() => void) | undefined;

  readonly store = (requests: readonly AppendRequest[]): Promise<readonly AppendOutcome[]> => {
    const { promise, resolve, reject } = Promise.withResolvers<readonly AppendOutcome[]>();
    const batch: Batch = {
      requests,
      answer: (outcome = () => STORED) => {
        this.open.delete(batch);
        resolve(requests.map(outcome));
      },
      fail: (error) => {
        this.open.delete(batch);
        reject(error as Error);
      },
    };
    this.batches.push(batch);
    this.open.add(batch);
    this.#arrived?.();
    return promise;
  };

  at(index: number): Batch {
    const batch = this.batches[index];
    if (!batch) throw new Error(`there are only ${this.batches.length} batches`);
    return batch;
  }

  /** Which requests were in each call, by the names they were given. */
  get names(): string[][] {
    return this.batches.map(({ requests }) => requests.map(nameOf));
  }
}

const STORED: AppendOutcome = { outcome: 'stored', events: [], leaseExpiresAt: '', cancellationRequested: false };
const LOCKED: AppendOutcome = { outcome: 'locked' };

/** `name` is its task and, after a space, whatever tells it from the task's others. */
function aRequest(name: string, eventCount = 1): AppendRequest {
  const [taskId = ''] = name.split(' ');
  const events = Array.from({ length: eventCount }, () => messageEvent('m'));
  return { taskId, leaseToken: 'token', batchSeq: 1, events, principalId: name };
}

const nameOf = ({ principalId }: AppendRequest): string => principalId ?? '';

/** Everything that follows without the clock. */
const settled = () => jest.advanceTimersByTimeAsync(0);
const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);
/** The time until a locked request is tried again. The fake clock adds a millisecond. */
const passRetry = () => pass(6);

let log: WaitingStore;
let queue: AppendQueue;

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask'] });
  log = new WaitingStore();
  queue = new AppendQueue(log.store);
});

afterEach(() => {
  jest.useRealTimers();
});

/** Appends in its own turn, and records the outcome. Tests about other things need not wait for it. */
function append(name: string, eventCount?: number): { ended?: Settled['outcome'] | Error } {
  const noted = appendWithOthers(name, eventCount);
  jest.advanceTimersByTime(0);
  return noted;
}

function appendWithOthers(name: string, eventCount?: number): { ended?: Settled['outcome'] | Error } {
  const noted: { ended?: Settled['outcome'] | Error } = {};
  queue.push(aRequest(name, eventCount)).then(
    ({ outcome }) => (noted.ended = outcome),
    (error: Error) => (noted.ended = error),
  );
  return noted;
}

describe('The append queue', () => {
  it('stores a lone request at once', () => {
    append('a');
    expect(log.names).toEqual([['a']]);
  });

  it('stores together what comes in one turn of the event loop', () => {
    for (const name of ['a', 'b', 'c']) appendWithOthers(name);
    expect(log.names).toEqual([]);
    jest.advanceTimersByTime(0);
    expect(log.names).toEqual([['a', 'b', 'c']]);
  });

  it('answers each request with its own outcome', async () => {
    const first = append('a');
    const [second, third] = [append('b'), append('c')];
    log.at(0).answer();
    await settled();
    log.at(1).answer(({ taskId }) => (taskId === 'b' ? { outcome: 'refused' } : STORED));
    await settled();
    expect([first, second, third].map(({ ended }) => ended)).toEqual(['stored', 'refused', 'stored']);
  });

  it('makes the next batch of what arrived during the last one', async () => {
    append('a');
    for (const name of ['b', 'c', 'd']) append(name);
    expect(log.names).toEqual([['a']]);
    log.at(0).answer();
    await settled();
    expect(log.names).toEqual([['a'], ['b', 'c', 'd']]);
  });

  it('has one request of a task in a batch, in the order in which they came', async () => {
    for (const name of ['a 1', 'a 2', 'a 3', 'b 1']) append(name);
    for (let index = 0; index < 3; index += 1) {
      log.at(index).answer();
      await settled();
    }
    expect(log.names).toEqual([['a 1'], ['a 2', 'b 1'], ['a 3']]);
  });

  it('puts at most 500 events into a batch', async () => {
    append('a');
    for (const name of ['b', 'c', 'd']) append(name, 200);
    log.at(0).answer();
    await settled();
    expect(log.names).toEqual([['a'], ['b', 'c']]);
  });

  it('does not let a small request pass a large one of its task that has to wait for room', async () => {
    append('first');
    append('b', 300);
    append('a 1', 300);
    append('a 2');
    log.at(0).answer();
    await settled();
    expect(log.names).toEqual([['first'], ['b']]);
  });

  it('stores a request that is larger than a batch by itself', async () => {
    append('a');
    append('b', 501);
    append('c');
    log.at(0).answer();
    await settled();
    expect(log.names).toEqual([['a'], ['b']]);
  });

  it('starts another batch beside one that is unanswered for 100 ms, and not sooner', async () => {
    append('a');
    append('b');
    await pass(99);
    expect(log.names).toEqual([['a']]);
    await pass(1);
    expect(log.names).toEqual([['a'], ['b']]);
  });

  it('lets a task wait for its own slow batch', async () => {
    append('a 1');
    append('a 2');
    append('b');
    await pass(100);
    log.at(1).answer();
    await settled();
    expect(log.names).toEqual([['a 1'], ['b']]);
    log.at(0).answer();
    await settled();
    expect(log.names).toEqual([['a 1'], ['b'], ['a 2']]);
  });

  it('has four batches in flight at most, however slow they are', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) {
      append(name);
      await pass(100);
    }
    expect(log.names).toEqual([['a'], ['b'], ['c'], ['d']]);
    log.at(2).answer();
    await settled();
    expect(log.names.at(-1)).toEqual(['e', 'f']);
  });

  it('goes back to one batch at a time when the slow ones are answered', async () => {
    append('a');
    await pass(100);
    append('b');
    log.at(0).answer();
    await settled();
    append('c');
    expect(log.names).toEqual([['a'], ['b']]);
  });

  it('rejects only the request that a batch fails for', async () => {
    append('first');
    const requests = ['a', 'b', 'bad', 'c', 'd'].map((name) => append(name));
    log.at(0).answer();
    for (await settled(); log.open.size > 0; await settled()) {
      for (const batch of log.open) {
        if (batch.requests.some(({ taskId }) => taskId === 'bad')) batch.fail(new Error('not so'));
        else batch.answer();
      }
    }
    expect(requests.map(({ ended }) => ended)).toEqual(['stored', 'stored', new Error('not so'), 'stored', 'stored']);
  });

  it('rejects a whole batch when PostgreSQL does not answer, instead of asking it again for each half', async () => {
    append('first');
    const requests = ['a', 'b'].map((name) => append(name));
    log.at(0).answer();
    await settled();
    log.at(1).fail(new DatabaseUnavailable(undefined));
    await settled();
    expect(requests.map(({ ended }) => ended)).toEqual([
      expect.any(DatabaseUnavailable),
      expect.any(DatabaseUnavailable),
    ]);
    expect(log.batches).toHaveLength(2);
  });

  it('goes on with the next batch after one that failed', async () => {
    append('a');
    append('b');
    log.at(0).fail(new DatabaseUnavailable(undefined));
    await settled();
    expect(log.names).toEqual([['a'], ['b']]);
  });

  it('takes in 20 000 waiting events and refuses more', async () => {
    append('in flight');
    for (let index = 0; index < 40; index += 1) append(`waiting-${index}`, 500);
    await expect(refusalOf(aRequest('more'))).resolves.toBeInstanceOf(TooMuchWaiting);
  });

  it('takes in more when some of what waits is on its way', async () => {
    append('in flight');
    for (let index = 0; index < 40; index += 1) append(`waiting-${index}`, 500);
    log.at(0).answer();
    await settled();
    await expect(refusalOf(aRequest('more', 500))).resolves.toBeUndefined();
  });

  it('tries again what somebody else had locked, until it is stored', async () => {
    const request = append('a');
    for (let index = 0; index < 3; index += 1) {
      log.at(index).answer(() => LOCKED);
      await passRetry();
    }
    log.at(3).answer();
    await settled();
    expect(request.ended).toBe('stored');
  });

  it('stores for others while a task is locked', async () => {
    append('a');
    append('b');
    log.at(0).answer(() => LOCKED);
    await settled();
    log.at(1).answer();
    await settled();
    expect(log.names.slice(0, 2)).toEqual([['a'], ['b']]);
  });

  it('keeps a task’s order while it is locked', async () => {
    append('a 1');
    append('a 2');
    log.at(0).answer(() => LOCKED);
    await passRetry();
    log.at(1).answer();
    await settled();
    expect(log.names).toEqual([['a 1'], ['a 1'], ['a 2']]);
  });

  it('gives up after ten seconds on a task that stays locked', async () => {
    const request = append('a');
    for (let waited = 0; waited < 10_100; waited += 5) {
      for (const batch of log.open) batch.answer(() => LOCKED);
      await pass(5);
    }
    expect(request.ended).toBeInstanceOf(TooMuchWaiting);
  });

  it('stores for a task again after it gave up on a request of it', async () => {
    append('a 1');
    await pass(10_001);
    log.at(0).answer(() => LOCKED);
    await settled();
    append('a 2');
    expect(log.names).toEqual([['a 1'], ['a 2']]);
  });
});

/** Undefined when the request is taken in. Whether it is thrown or rejected makes no difference to an `await`. */
async function refusalOf(request: AppendRequest): Promise<unknown> {
  const refused = (async () => queue.push(request))().then(
    () => undefined,
    (error: unknown) => error,
  );
  return Promise.race([refused, settled().then(() => undefined)]);
}

type Answer = 'stored' | 'refused' | 'locked' | 'fault' | 'unavailable';
type Move =
  | { readonly kind: 'arrive'; readonly task: string; readonly eventCount: number }
  | { readonly kind: 'answer'; readonly which: number; readonly answers: readonly Answer[] }
  | { readonly kind: 'pass'; readonly ms: number };

const move: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('arrive' as const),
      task: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
      eventCount: fc.constantFrom(1, 1, 300),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('answer' as const),
      which: fc.nat(3),
      answers: fc.array(
        fc.constantFrom<Answer>('stored', 'stored', 'stored', 'refused', 'locked', 'fault', 'unavailable'),
        {
          minLength: 6,
          maxLength: 6,
        },
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(1, 5, 50, 100, 150) }) },
);

/** One run of the queue against a store with all allowed outcomes. Each request gets `stored` at most once. */
async function play(moves: readonly Move[]) {
  log = new WaitingStore();
  queue = new AppendQueue(log.store);
  const arrived: string[] = [];
  const stored: string[] = [];
  const ended = new Map<string, Settled['outcome'] | Error>();
  const together: string[][] = [];
  let mostInFlight = 0;
  const answer = (batch: Batch, answers: readonly Answer[]) => {
    const fatal = answers.slice(0, batch.requests.length).find((one) => one === 'fault' || one === 'unavailable');
    if (fatal === 'unavailable') return batch.fail(new DatabaseUnavailable(undefined));
    if (fatal === 'fault') return batch.fail(new Error('fault'));
    const outcomes = new Map(batch.requests.map((request, index) => [request, answers[index]]));
    for (const [request, one] of outcomes) if (one === 'stored') stored.push(nameOf(request));
    batch.answer((request) => {
      const one = outcomes.get(request);
      return one === 'stored' ? STORED : one === 'locked' ? LOCKED : { outcome: 'refused' };
    });
  };
  const look = async () => {
    await settled();
    mostInFlight = Math.max(mostInFlight, log.open.size);
    together.push([...log.open].flatMap(({ requests }) => requests.map(({ taskId }) => taskId)));
  };
  for (const one of moves) {
    if (one.kind === 'arrive') {
      const name = `${one.task} ${arrived.length}`;
      arrived.push(name);
      queue.push(aRequest(name, one.eventCount)).then(
        ({ outcome }) => ended.set(name, outcome),
        (error: Error) => ended.set(name, error),
      );
    } else if (one.kind === 'pass') await pass(one.ms);
    else {
      const batch = [...log.open][one.which % Math.max(1, log.open.size)];
      if (batch) answer(batch, one.answers);
    }
    await look();
  }
  // From now on everything is stored, so that the queue comes to rest.
  for (let quiet = 0; quiet < 3; quiet = log.open.size === 0 ? quiet + 1 : 0) {
    for (const batch of log.open) answer(batch, Array<Answer>(6).fill('stored'));
    await look();
    await pass(5);
  }
  return { arrived, stored, ended, together, mostInFlight };
}

describe('Whatever arrives, and however the store answers', () => {
  function always(check: (run: Awaited<ReturnType<typeof play>>) => void): Promise<void> {
    const runs = fc.asyncProperty(fc.array(move, { maxLength: 40 }), async (moves) => check(await play(moves)));
    return fc.assert(runs, { numRuns: 150 });
  }

  it('the requests of a task are stored in the order in which they came', () =>
    always(({ arrived, stored }) => {
      const taskOf = (name: string) => name.split(' ')[0];
      for (const task of new Set(arrived.map(taskOf))) {
        const inOrder = arrived.filter((name) => taskOf(name) === task && stored.includes(name));
        expect(stored.filter((name) => taskOf(name) === task)).toEqual(inOrder);
      }
    }));

  it('a task is in one batch at a time, once', () =>
    always(({ together }) => {
      for (const tasks of together) expect(tasks).toHaveLength(new Set(tasks).size);
    }));

  it('never more than four batches are in flight', () =>
    always(({ mostInFlight }) => expect(mostInFlight).toBeLessThanOrEqual(4)));

  it('every request is answered, and says stored exactly if it is', () =>
    always(({ arrived, stored, ended }) => {
      expect([...ended.keys()].sort()).toEqual([...arrived].sort());
      const saidStored = [...ended].filter(([, outcome]) => outcome === 'stored').map(([name]) => name);
      expect(saidStored.sort()).toEqual([...stored].sort());
    }));
});
