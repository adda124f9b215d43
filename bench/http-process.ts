import { setTimeout as delay } from 'node:timers/promises';
import { answerCalls } from './child.js';
import { HttpConnection } from './http-connection.js';
import { claim, complete, create, type Lease } from './requests.js';
import { now } from './tokens.mjs';

// The load generator for requests: clients who create tasks, and workers who take them.

interface Load {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
}

const LONGEST_WAIT_MS = 30_000;
/** Tasks of one claim. */
const TASKS = 10;
const MAKERS = 64;

let idle: { readonly connections: HttpConnection[]; leased: (lease: Lease) => void } | undefined;

/** The number of the next timed task. */
let timed = 0;
let claimer: HttpConnection | undefined;
let claimed: Lease[] = [];

/** The work of all connections together, and the time that it took. */
async function load({ url, connections, seconds }: Load, work: (connection: HttpConnection) => Promise<number>) {
  const open = await Promise.all(Array.from({ length: connections }, () => HttpConnection.open(url)));
  const startedAt = performance.now();
  let count = 0;
  await Promise.all(
    open.map(async (connection) => {
      while (performance.now() - startedAt < seconds * 1000) {
        const done = await work(connection);
        count += done;
      }
    }),
  );
  const took = (performance.now() - startedAt) / 1000;
  for (const connection of open) connection.close();
  return { count, seconds: took };
}

function timedTask() {
  timed += 1;
  return { taskType: 'bench.timed', input: { n: timed } };
}

answerCalls({
  create: (asked: Load) => load(asked, async (connection) => (await create(connection), 1)),

  /** Creates of tasks that a handler runs: how many are acknowledged in the time. */
  createTimed: (asked: Load) =>
    load(asked, async (connection) => (await create(connection, undefined, timedTask()), 1)),

  /**
   * `perSecond` creates, evenly, whatever the answers take. Resolves when all are answered, to the time of each create by the number
   * in its input, in ms of the machine's clock.
   */
  async createEvenly({ url, connections, seconds }: Load, perSecond: number): Promise<Record<number, number>> {
    const free = await Promise.all(Array.from({ length: connections }, () => HttpConnection.open(url)));
    const sent: Record<number, number> = {};
    const underWay = new Set<Promise<void>>();
    const startedAt = performance.now();
    for (let n = 0; n < Math.max(1, seconds * perSecond); n += 1) {
      const waitMs = startedAt + (n * 1000) / perSecond - performance.now();
      if (waitMs > 0) await delay(waitMs);
      while (free.length === 0) await Promise.race(underWay);
      const [connection, task] = [free.pop() as HttpConnection, timedTask()];
      sent[task.input.n] = now();
      const over: Promise<void> = create(connection, undefined, task).then(() => {
        free.push(connection);
        underWay.delete(over);
      });
      underWay.add(over);
    }
    await Promise.all(underWay);
    for (const connection of free) connection.close();
    return sent;
  },

  /** Milliseconds of one claim of one task. The lease is kept. */
  async claimOne(url: string): Promise<number> {
    claimer ??= await HttpConnection.open(url);
    const startedAt = performance.now();
    const [lease, ...more] = await claim(claimer, 1, 0);
    const took = performance.now() - startedAt;
    if (!lease || more.length > 0) throw new Error('a claim of one gave no task, or more');
    claimed.push(lease);
    return took;
  },

  /** Ends what `claimOne` kept. */
  async completeClaimed(): Promise<number> {
    const ids = new Set(claimed.map(({ taskId }) => taskId));
    if (ids.size < claimed.length) throw new Error('a task was claimed twice');
    for (const lease of claimed) await complete(claimer as HttpConnection, lease);
    claimed = [];
    return ids.size;
  },

  /** Creates `tasks` tasks of one owner for the workers. */
  async prepare(url: string, tasks: number): Promise<void> {
    let left = tasks;
    const makers = Array.from({ length: MAKERS }, async () => {
      const connection = await HttpConnection.open(url);
      while (left-- > 0) await create(connection, 1);
      connection.close();
    });
    await Promise.all(makers);
  },

  /** Tasks that were claimed, ten at a time, and completed, one at a time. */
  work: (asked: Load) =>
    load(asked, async (connection) => {
      const leases = await claim(connection, TASKS, 0);
      for (const lease of leases) await complete(connection, lease);
      return leases.length;
    }),

  /** Each connection creates a task, claims one and completes it, in turn. Answers how many, and the ms of the claims. */
  async churn(asked: Load, owners: number): Promise<{ count: number; claims: number[] }> {
    const claims: number[] = [];
    const { count } = await load(asked, async (connection) => {
      await create(connection, owners);
      const startedAt = performance.now();
      const leases = await claim(connection, 1, 0);
      claims.push(performance.now() - startedAt);
      for (const lease of leases) await complete(connection, lease);
      return leases.length;
    });
    return { count, claims };
  },

  /** From now on `workers` workers wait for a task. */
  async wait(url: string, workers: number): Promise<void> {
    const connections = await Promise.all(Array.from({ length: workers }, () => HttpConnection.open(url)));
    idle = { connections, leased: () => undefined };
    for (const connection of connections) {
      void (async () => {
        for (;;) {
          for (const lease of await claim(connection, 1, LONGEST_WAIT_MS)) {
            idle?.leased(lease);
            await complete(connection, lease);
          }
        }
      })();
    }
  },

  /** Milliseconds from a create to the lease at one of those who wait. */
  async claimLatencies(url: string, rounds: number): Promise<number[]> {
    const connection = await HttpConnection.open(url);
    const took: number[] = [];
    for (let n = 0; n < rounds; n += 1) {
      const leased = new Promise<Lease>((resolve) => idle && (idle.leased = resolve));
      const startedAt = performance.now();
      await create(connection);
      await leased;
      took.push(performance.now() - startedAt);
    }
    connection.close();
    return took;
  },
});
