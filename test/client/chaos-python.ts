import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ChaosSizes, ChaosVerdict } from './chaos-sizes.js';
import type { Witnessed } from './follow-story.js';
import { HostileProxy } from './hostile-proxy.js';
import { judgeStory } from './judge-story.js';
import type { EventPage } from '../support/client.js';
import { seededRandom } from '../support/follow.js';

const program = fileURLToPath(new URL('follow_story.py', import.meta.url));
const LONGEST_MS = 150_000;
const LEFT_OPEN_MS = 10_000;
/** By turns. The Python client has no WebSocket. */
const ORDERS = [['sse', 'poll'], ['sse'], ['poll']] as const;

interface Answer {
  readonly run: number;
  readonly seen?: Witnessed;
  readonly error?: string;
}

/** Runs stories in a Python process. Every other one is followed without asyncio. Fails where the process does not end by itself. */
export async function chaosInPython(
  python: string,
  sizes: ChaosSizes,
  say: (verdict: ChaosVerdict) => void = () => {},
): Promise<readonly ChaosVerdict[]> {
  const child = spawn(python, [program], {
    env: { PATH: process.env['PATH'] },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const waiting = new Map<number, (answer: Answer) => void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const answer = JSON.parse(line) as Answer;
    waiting.get(answer.run)?.(answer);
  });
  const follow = (run: { readonly run: number } & Readonly<Record<string, unknown>>) =>
    new Promise<Answer>((resolve) => {
      waiting.set(run.run, resolve);
      child.stdin.write(`${JSON.stringify(run)}\n`);
      const late = { run: run.run, error: `not over after ${LONGEST_MS} ms` };
      setTimeout(() => resolve(late), LONGEST_MS).unref();
    });

  const direct = async <T>(path: string) => {
    const answer = await fetch(`http://127.0.0.1:${sizes.port}/api/v1${path}`, { headers: sizes.headers });
    return (await answer.json()) as T;
  };
  const runOne = async (run: number): Promise<ChaosVerdict> => {
    const random = seededRandom(sizes.seed + run);
    const transports = ORDERS[run % ORDERS.length] ?? ['poll'];
    const proxy = await HostileProxy.start({ targetPort: sizes.port, random, faults: 3 + Math.floor(random() * 10) });
    const requestId = `python-${sizes.seed}-${run}`;
    const isSync = Math.floor(run / ORDERS.length) % 2 === 0;
    const startedAt = Date.now();
    const { seen, error } = await follow({
      run,
      url: proxy.url,
      headers: sizes.headers,
      requestId,
      transports,
      isSync,
    });
    await proxy.close();
    const wrong = error === undefined ? [] : [error];
    if (seen) {
      const { events } = await direct<EventPage>(`/tasks/${seen.taskId}/events?maxEvents=500&waitTimeoutMs=0`);
      const { items } = await direct<{ items: unknown[] }>(`/tasks?clientRequestId=${requestId}`);
      wrong.push(...judgeStory(seen, events, items.length));
    }
    const by = `${transports.join()} ${isSync ? 'by threads' : 'by asyncio'}`;
    return { run, transports: by, ms: Date.now() - startedAt, faults: proxy.happened.join(' '), wrong };
  };

  const verdicts: ChaosVerdict[] = [];
  let next = 0;
  const lane = async () => {
    for (let run = next++; run < sizes.runs; run = next++) {
      const verdict = await runOne(run);
      verdicts.push(verdict);
      say(verdict);
    }
  };
  await Promise.all(Array.from({ length: sizes.atATime }, lane));
  child.stdin.end();
  const isOver = await Promise.race([exited.then(([code]) => code === 0), delay(LEFT_OPEN_MS, false, { ref: false })]);
  child.kill('SIGKILL');
  if (!isOver) throw new Error(`the Python process did not end well within ${LEFT_OPEN_MS} ms`);
  return verdicts;
}
