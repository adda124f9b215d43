import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { Database } from '../../src/database/database.js';
import { createPool } from '../../src/database/pool.js';
import { AppendQueue } from '../../src/tasks/append-events.js';
import { messageEvent } from '../../src/tasks/domain/event-payloads.js';
import { appendBatch, type AppendRequest } from '../../src/tasks/store/append-batch.js';
import { answerCalls } from '../child.js';
import { TEXT } from '../text.js';

// The service's own statements in a loop, with nothing around them.

/** The default of the service. */
const POOL_MAX = 10;
const LIMITS = { leaseSeconds: 3_600, maxEventsPerTask: 1_000_000 };

/** A task that runs, as far as the statement for appends can see. */
interface Running {
  readonly taskId: string;
  batchSeq: number;
}

let database: Database;
let raw: pg.Client;
let running: Running[] = [];

function nextAppend(task: Running): AppendRequest {
  task.batchSeq += 1;
  const { taskId, batchSeq } = task;
  return { taskId, batchSeq, leaseToken: 'bench', events: [messageEvent(TEXT)], principalId: 'bench' };
}

async function appendAlone(task: Running): Promise<void> {
  const [outcome] = await appendBatch(database, [nextAppend(task)], LIMITS);
  if (outcome?.outcome !== 'stored') throw new Error(`an append was ${outcome?.outcome}`);
}

async function timed(rounds: number, work: () => Promise<unknown>): Promise<number[]> {
  const took: number[] = [];
  for (let n = 0; n < rounds; n += 1) {
    const startedAt = performance.now();
    await work();
    took.push(performance.now() - startedAt);
  }
  return took;
}

answerCalls({
  async start(appUrl: string, superuserUrl: string, tasks: number): Promise<void> {
    database = new Database(createPool(appUrl, { max: POOL_MAX }));
    raw = new pg.Client({ connectionString: appUrl });
    await raw.connect();
    running = Array.from({ length: tasks }, () => ({ taskId: randomUUID(), batchSeq: 0 }));
    const superuser = new pg.Client({ connectionString: superuserUrl });
    await superuser.connect();
    await superuser.query(
      `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, status, attempt,
        lease_token, lease_number, lease_expires_at, worker_id, correlation_id)
      SELECT id, '', 'bench', id, '', 'bench', 'RUNNING', 1, 'bench', 1, clock_timestamp() + interval '1 hour', 'bench', id
      FROM unnest($1::uuid[]) AS id`,
      [running.map(({ taskId }) => taskId)],
    );
    await superuser.end();
  },

  /** One commit per event: events a second of as many writers as there are tasks. */
  async oneByOne(seconds: number): Promise<number> {
    const startedAt = performance.now();
    let stored = 0;
    await Promise.all(
      running.map(async (task) => {
        while (performance.now() - startedAt < seconds * 1000) {
          await appendAlone(task);
          stored += 1;
        }
      }),
    );
    return stored / ((performance.now() - startedAt) / 1000);
  },

  /** Milliseconds of `rounds` appends of a lone writer through the queue, and without it. They take turns, so both meet the same load. */
  async lone(rounds: number): Promise<{ queued: number[]; direct: number[] }> {
    const queue = new AppendQueue((requests) => appendBatch(database, requests, LIMITS));
    const [task] = running as [Running];
    const [queued, direct]: [number[], number[]] = [[], []];
    for (let n = 0; n < rounds; n += 1) {
      queued.push(...(await timed(1, () => queue.push(nextAppend(task)))));
      direct.push(...(await timed(1, () => appendAlone(task))));
    }
    return { queued, direct };
  },

  /** Milliseconds of `rounds` commits of one row of the log. */
  commits(rounds: number): Promise<number[]> {
    const { taskId } = running[0] as Running;
    let eventId = 1_000_000_000 + Math.floor(performance.now() * 1000);
    const { json } = messageEvent(TEXT);
    const text = `INSERT INTO taskbridge.events (task_id, event_id, type, payload, correlation_id, principal_id)
      VALUES ($1, $2, 'TASK_MESSAGE', $3, $1, 'bench')`;
    return timed(rounds, () => raw.query({ name: 'commit', text, values: [taskId, (eventId += 1), json] }));
  },
});
