import { answerCalls } from './child.js';
import { HttpConnection } from './http-connection.js';
import { claim, complete, create, type Lease } from './requests.js';

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

answerCalls({
  create: (asked: Load) => load(asked, async (connection) => (await create(connection), 1)),

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
