import { randomUUID } from 'node:crypto';
import { WORKER_TOKEN } from '../test/support/worker-client.js';
import { answerCalls } from './child.js';
import { type Answer, HttpConnection } from './http-connection.js';

// The load generator for requests: clients who create tasks, and workers who take them.

interface Load {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
}

interface Lease {
  readonly taskId: string;
  readonly leaseToken: string;
}

/** Distinct ones: a principal may have so many open tasks and no more. */
const OWNERS = 1_000;
const AUTHORIZATION = `Authorization: Bearer ${WORKER_TOKEN}\r\n`;
const LONGEST_WAIT_MS = 30_000;
/** Of one claim. */
const TASKS = 10;
const MAKERS = 64;

let created = 0;
let idle: { readonly connections: HttpConnection[]; leased: (lease: Lease) => void } | undefined;

function create(connection: HttpConnection, owners = OWNERS): Promise<Answer> {
  created += 1;
  return connection.post('/api/v1/tasks', `X-Principal-Id: owner-${created % owners}\r\n`, {
    clientRequestId: randomUUID(),
    taskType: 'bench.wait',
    input: { prompt: 'Summarise the attached report in three sentences.', temperature: 0.2, model: 'any' },
    metadata: { source: 'bench' },
  });
}

async function claim(connection: HttpConnection, maxTasks: number, waitTimeoutMs: number): Promise<readonly Lease[]> {
  const body = { workerId: 'bench', taskTypes: ['bench.wait'], maxTasks, waitTimeoutMs };
  const { text } = expected(200, await connection.post('/worker/v1/leases', AUTHORIZATION, body));
  return (JSON.parse(text) as { leases: readonly Lease[] }).leases;
}

async function complete(connection: HttpConnection, { taskId, leaseToken }: Lease): Promise<void> {
  const body = { leaseToken, result: null };
  expected(200, await connection.post(`/worker/v1/tasks/${taskId}/complete`, AUTHORIZATION, body));
}

function expected(status: number, answer: Answer): Answer {
  if (answer.status !== status) throw new Error(`answered with ${answer.status}: ${answer.text}`);
  return answer;
}

/** What all connections did together until the time was over, and in how long. */
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
  create: (asked: Load) => load(asked, async (connection) => (expected(201, await create(connection)), 1)),

  /** So many of one owner, for others to work on. */
  async prepare(url: string, tasks: number): Promise<void> {
    let left = tasks;
    const makers = Array.from({ length: MAKERS }, async () => {
      const connection = await HttpConnection.open(url);
      while (left-- > 0) expected(201, await create(connection, 1));
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

  /** So many workers that wait for a task from now on. */
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
      expected(201, await create(connection));
      await leased;
      took.push(performance.now() - startedAt);
    }
    connection.close();
    return took;
  },
});
