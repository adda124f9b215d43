import { setTimeout as delay } from 'node:timers/promises';
import { Client, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { seededRandom, transports } from '../support/follow.js';
import type { TestDatabase } from '../support/postgres.js';
import type { TestRedis } from '../support/redis.js';
import { eventually } from '../support/service.js';
import { TcpBalancer } from '../support/tcp-balancer.js';
import { FEED_READERS } from '../support/follow-changes.js';
import { planFaults, strike } from './faults.js';
import { followFeed } from './feed-follower.js';
import { Replicas } from './replicas.js';
import { type Followed, subscribe } from './subscriber.js';
import { judge, type Verdict } from './verdict.js';

export interface Sizes {
  readonly tasks: number;
  readonly events: number;
  /** Subscribers of each task. They take the transports in turn. */
  readonly subscribers: number;
  readonly kills: number;
  /** The time in which tasks are created and faults happen. */
  readonly seconds: number;
  readonly seed: number;
}

export interface Surroundings {
  readonly database: TestDatabase;
  readonly redis: TestRedis;
  readonly crashPostgres?: () => Promise<void>;
  readonly say: (line: string) => void;
}

const INTERVAL_MS = 100;
/** I9: a minute after the faults stop. */
const QUIESCENCE_MS = 60_000;
const ENV = { LEASE_SECONDS: '2', TASK_MAX_ATTEMPTS: '1000', STREAMS_PER_PRINCIPAL: '0' };

/** Creates and follows tasks through a balancer during faults, and judges the promises. */
export async function runScenario(sizes: Sizes, surroundings: Surroundings): Promise<Verdict> {
  const { database, redis, say } = surroundings;
  const balancer = await TcpBalancer.start();
  const replicas = new Replicas(balancer, { ...ENV, DATABASE_URL: database.appUrl, REDIS_URL: redis.url });
  const giveUp = new AbortController();
  try {
    await Promise.all([replicas.add(), replicas.add()]);
    const kinds = Object.keys(FEED_READERS) as (keyof typeof FEED_READERS)[];
    const feeds = await Promise.all(
      kinds.map((transport, n) => followFeed(transport, balancer.url, seededRandom(sizes.seed + n))),
    );
    const taskIds: string[] = [];
    const following: Promise<Followed>[] = [];
    let through = 0;
    const creating = createAll(sizes, balancer.url, (client, taskId, random) => {
      taskIds.push(taskId);
      const names = Object.keys(transports) as (keyof typeof transports)[];
      for (let n = 0; n < sizes.subscribers; n++) {
        const transport = names[n % names.length] ?? 'SSE';
        const maxRun = Math.max(2, sizes.events / 4);
        const name = `${transport} ${n + 1}/${taskId}`;
        const options = { name, url: balancer.url, taskId, transport, headers: client.headers, maxRun };
        const chance = { random: seededRandom(random() * 2 ** 32), giveUp: giveUp.signal };
        following.push(subscribe({ ...options, ...chance }).finally(() => (through += 1)));
      }
    });
    const plan = planFaults(sizes.kills, Math.max(2, sizes.kills), surroundings.crashPostgres !== undefined);
    const startedAt = performance.now();
    const breaking = (async () => {
      for (const [index, fault] of plan.entries()) {
        const due = ((index + 0.5) / plan.length) * sizes.seconds * 1000;
        await delay(Math.max(0, due - (performance.now() - startedAt)));
        await strike(fault, { ...surroundings, replicas });
        const soFar = `${taskIds.length} tasks, ${through} of ${following.length} subscribers are through`;
        say(`${seconds(startedAt)} s: ${fault} (${soFar})`);
      }
    })();
    await Promise.all([creating, breaking]);
    say(`${seconds(startedAt)} s: ${taskIds.length} tasks are accepted, nothing breaks any more`);
    const timer = setTimeout(() => giveUp.abort(), QUIESCENCE_MS);
    await untilQuiet(database).catch(() => {});
    const followed = await Promise.all(following);
    clearTimeout(timer);
    const connections = followed.reduce((sum, one) => sum + one.connections, 0);
    say(`${seconds(startedAt)} s: ${followed.length} subscribers are through, after ${connections} connections`);
    const ofFeeds = await Promise.all(feeds.map((end) => end()));
    return await judge(database.superuserUrl, taskIds, [...followed, ...ofFeeds]);
  } finally {
    giveUp.abort();
    await replicas.stop();
    await balancer.close();
  }
}

type Created = (client: Client, taskId: string, random: () => number) => void;

async function createAll({ tasks, events, seconds, seed }: Sizes, url: string, created: Created): Promise<void> {
  const random = seededRandom(seed);
  const bodies = [
    { taskType: 'demo.stream', input: { chunks: events, intervalMs: INTERVAL_MS } },
    { taskType: 'demo.burst', input: { events } },
    { taskType: 'demo.greet', input: { steps: events, stepMs: INTERVAL_MS } },
  ];
  await Promise.all(
    Array.from({ length: tasks }, async (_, n) => {
      await delay((n / tasks) * seconds * 1000);
      const client = new Client(url, uniqueId('principal'));
      const { taskType, input } = bodies[n % bodies.length] as (typeof bodies)[number];
      const taskId = await accepted(client, { clientRequestId: uniqueId(), taskType, input });
      created(client, taskId, random);
    }),
  );
}

/** Repeats the same request until an answer settles it, as the documents say. */
async function accepted(client: Client, body: Parameters<Client['create']>[0]): Promise<string> {
  for (;;) {
    const answer = await client.create(body).catch(() => undefined);
    if (answer && answer.status < 300) return answer.body.taskId;
    if (answer && answer.status < 500 && answer.status !== 429) throw new Error(`refused: ${answer.text}`);
    await delay(100);
  }
}

/** Uses one connection, because many would take CPU from the last tasks. */
function untilQuiet({ superuserUrl }: TestDatabase): Promise<unknown> {
  const open = "SELECT 1 FROM taskbridge.proj_tasks WHERE status IN ('ACCEPTED', 'RUNNING') LIMIT 1";
  return connected(superuserUrl, (db) =>
    eventually('every task is over', async () => (await db.query(open)).rows.length === 0, QUIESCENCE_MS),
  );
}

function seconds(startedAt: number): string {
  return ((performance.now() - startedAt) / 1000).toFixed(1);
}
