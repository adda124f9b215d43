import { setTimeout as delay } from 'node:timers/promises';
import { createClient } from '../../packages/client/src/client-api.js';
import type { EventPage } from '../support/client.js';
import { seededRandom } from '../support/follow.js';
import { type ChaosSizes, type ChaosVerdict, ORDERS } from './chaos-sizes.js';
import { followStory } from './follow-story.js';
import { HostileProxy } from './hostile-proxy.js';
import { judgeStory } from './judge-story.js';

// Follows stories through bad networks, by the client alone. Prints what was wrong, and ends by itself when nothing is left open.

const LONGEST_MS = 150_000;

async function run(sizes: ChaosSizes, number: number): Promise<ChaosVerdict> {
  const random = seededRandom(sizes.seed + number);
  const transports = ORDERS[number % ORDERS.length] ?? ['poll'];
  const proxy = await HostileProxy.start({ targetPort: sizes.port, random, faults: 3 + Math.floor(random() * 10) });
  const client = createClient({ url: proxy.url, transports, headers: () => sizes.headers });
  const requestId = `chaos-${sizes.seed}-${number}`;
  const startedAt = Date.now();
  const giveUp = new AbortController();
  const wrong: string[] = [];
  try {
    const seen = await Promise.race([
      followStory(client, requestId),
      delay(LONGEST_MS, undefined, { signal: giveUp.signal }).then(() => {
        throw new Error(`not over after ${LONGEST_MS} ms: ${JSON.stringify(client.connection.get())}`);
      }),
    ]);
    const direct = async <T>(path: string) => {
      const answer = await fetch(`http://127.0.0.1:${sizes.port}/api/v1${path}`, { headers: sizes.headers });
      return (await answer.json()) as T;
    };
    const { events } = await direct<EventPage>(`/tasks/${seen.taskId}/events?maxEvents=500&waitTimeoutMs=0`);
    const { items } = await direct<{ items: unknown[] }>(`/tasks?clientRequestId=${requestId}`);
    wrong.push(...judgeStory(seen, events, items.length));
  } catch (error) {
    wrong.push(String(error instanceof Error ? error.stack : error));
  } finally {
    giveUp.abort();
    client.close();
    await proxy.close();
  }
  const faults = proxy.happened.join(' ');
  return { run: number, transports: transports.join(), ms: Date.now() - startedAt, faults, wrong };
}

const sizes = JSON.parse(process.env['CHAOS'] ?? '{}') as ChaosSizes;
let next = 0;
async function lane(): Promise<void> {
  for (let number = next++; number < sizes.runs; number = next++) console.log(JSON.stringify(await run(sizes, number)));
}
await Promise.all(Array.from({ length: sizes.atATime }, lane));
console.log('all runs are over');
