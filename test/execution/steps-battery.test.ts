import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants, connected, storedEnvelopes } from '../support/fold.js';
import { type Delivered, isTerminal, seededRandom, transports } from '../support/follow.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Service, startService } from '../support/service.js';
import { textsOf } from '../support/texts.js';
import { startWorker, WORKER_ENV, type WorkerProcess } from '../support/worker.js';

/** FULL=1 is the size that the guarantees speak of; without it the same in small. */
const RUNS = process.env['FULL'] === '1' ? 500 : 8;
const STEPS = 5;
/** About as long as the task runs, so that a kill comes at any of its points. */
const LASTS_MS = 450;
const SEED = Number(process.env['SEED'] ?? 20_261_130);

describe('A task of five steps', () => {
  const random = seededRandom(SEED);
  let database: TestDatabase;
  let service: Service;
  let worker: WorkerProcess;
  let client: Client;
  const workers: WorkerProcess[] = [];

  const serve = async (port?: string) => {
    const settings = { LEASE_SECONDS: '1', TASK_MAX_ATTEMPTS: '1000', ...(port !== undefined && { PORT: port }) };
    service = await startService({ DATABASE_URL: database.appUrl, ...WORKER_ENV, ...settings }, { lifetime: 'file' });
  };
  const startAnother = () => {
    worker = startWorker({ url: service.url, concurrency: 5 });
    workers.push(worker);
  };

  beforeAll(async () => {
    database = await createTestDatabase();
    await serve();
    client = newPrincipal(service.url);
    startAnother();
  });

  afterAll(async () => {
    worker.kill('SIGKILL');
    await service.stop();
    await database.drop();
  });

  /** SIGKILL to the service, the worker or both, and a start of what is gone. */
  async function killed(what: number): Promise<void> {
    const port = new URL(service.url).port;
    if (what !== 1) service.kill('SIGKILL');
    if (what !== 0) worker.kill('SIGKILL');
    if (what !== 1) {
      await service.exited;
      await serve(port);
    }
    if (what !== 0) startAnother();
  }

  /** What a client of this transport has at the end, over any number of connections. */
  async function followed(
    follow: (typeof transports)[keyof typeof transports],
    taskId: string,
  ): Promise<readonly Delivered[]> {
    const events: Delivered[] = [];
    while (!isTerminal(events.at(-1)?.raw ?? '{}')) {
      const reader = follow(client.url, taskId, events.at(-1)?.eventId ?? null, client.headers);
      await reader.end(60_000);
      events.push(...reader.events);
      await delay(50);
    }
    return events;
  }

  it(
    `that is killed at any point, ${RUNS} times, does no finished step again and shows no text twice`,
    async () => {
      for (let run = 0; run < RUNS; run += 1) {
        const { taskId } = (
          await client.create({
            clientRequestId: uniqueId(),
            taskType: 'both.steps',
            input: { count: STEPS, pauseMs: 60 },
          })
        ).body;
        const followers = Object.values(transports).map((follow) => followed(follow, taskId));
        await delay(random() * LASTS_MS);
        await killed(run % 3);
        const seen = await Promise.all(followers);
        await judge(taskId, seen);
      }
      await checkInvariants(database.superuserUrl);
    },
    RUNS * 15_000,
  );

  async function judge(taskId: string, seen: readonly (readonly Delivered[])[]): Promise<void> {
    const stored = await storedEnvelopes(database.superuserUrl, taskId);
    for (const events of seen) expect(events.map(({ raw }) => raw)).toEqual(stored);
    const log = stored.map((raw) => JSON.parse(raw) as { type: string; payload: Record<string, unknown> });
    expect(log.at(-1)?.type).toBe('TASK_COMPLETED');
    expect(textsOf(log)).toEqual({ text: 'begin;0;void;1;void;2;void;3;void;4;void;' });
    const steps = await connected(database.superuserUrl, async (db) => {
      const sql = 'SELECT step_key, attempt FROM taskbridge.entries_steps WHERE task_id = $1 ORDER BY event_id';
      return (await db.query<{ step_key: string; attempt: number }>(sql, [taskId])).rows;
    });
    expect(steps.map(({ step_key }) => step_key)).toEqual(Array.from({ length: STEPS }, (_, n) => `part#${n}`));
    // A body may begin again while its result is not stored. Behind the attempt that stored it none does.
    const printed = workers.map((one) => one.stdout()).join('');
    const ran = [...printed.matchAll(/^ran (\S+) (\d+) (\d+)$/gm)].filter(([, of]) => of === taskId);
    for (const [index, { attempt }] of steps.entries()) {
      const attempts = ran.filter(([, , step]) => Number(step) === index).map(([, , , by]) => Number(by));
      expect({ index, last: Math.max(...attempts) }).toEqual({ index, last: attempt });
      expect(new Set(attempts).size).toBe(attempts.length);
    }
    // The other side of an effect sees one key for each step, however often its body began.
    const keys = new Set([...printed.matchAll(/^effect (\S+)$/gm)].map(([, key = '']) => key));
    expect([...keys].filter((key) => key.startsWith(taskId)).length).toBe(STEPS);
  }
});
