import { afterEach, beforeEach, expect } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import type { TaskPolicy } from '#protocol/policies.js';
import { Client, newPrincipal, uniqueId } from './client.js';
import { connected } from './fold.js';
import { createTestDatabase, type TestDatabase } from './postgres.js';
import { eventually, type Service, startService } from './service.js';
import { type Lease, WITH_WORKERS, WorkerClient } from './worker-client.js';

// Tasks of one type, run to their end over replicas that are killed by workers that vanish. The database writes when each lease began and ended.

export const full = process.env['FULL'] === '1';
const REPLICAS = full ? 4 : 3;
export const TASKS = full ? 400 : 90;
const LEASE_SECONDS = '1';

/** A lease of the task, by the clock of the database, in milliseconds. */
export interface Interval {
  readonly taskId: string;
  readonly owner: string;
  readonly key: string | null;
  readonly isResumed: boolean;
  readonly from: number;
  /** Absent: it lasts. */
  readonly to: number | null;
}

const JOURNAL = `
  CREATE TABLE public.leases (task_id uuid, owner_id text, key text, lease_number int, is_resumed boolean, began timestamptz,
    ended timestamptz, PRIMARY KEY (task_id, lease_number));
  CREATE FUNCTION public.note_lease() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
  BEGIN
    IF OLD.lease_token IS NOT NULL THEN
      UPDATE public.leases SET ended = clock_timestamp() WHERE task_id = OLD.task_id AND lease_number = OLD.lease_number;
    END IF;
    IF NEW.lease_token IS NOT NULL THEN
      INSERT INTO public.leases VALUES (NEW.task_id, NEW.owner_id, NEW.input ->> 'key', NEW.lease_number, OLD.resuming, clock_timestamp());
    END IF;
    RETURN NEW;
  END $$;
  CREATE TRIGGER note_lease BEFORE UPDATE ON taskbridge.proj_tasks FOR EACH ROW
    WHEN (OLD.lease_token IS DISTINCT FROM NEW.lease_token) EXECUTE FUNCTION public.note_lease();`;

export interface Run {
  readonly policy: TaskPolicy;
  readonly tasks?: number;
  readonly owners?: number;
  readonly keys?: number;
  /** How long an attempt takes. */
  readonly workMs?: number;
  /** Of the attempts, how many are never ended by their worker. */
  readonly lost?: number;
  readonly kills?: number;
}

/** The runs of a test file, each on a database of its own. */
export function limitedRuns(): {
  readonly run: (run: Run) => Promise<void>;
  readonly intervals: () => Promise<readonly Interval[]>;
} {
  let database: TestDatabase;
  let replicas: Service[];

  const sql = (text: string) =>
    connected(database.superuserUrl, async (db) => (await db.query<Record<string, never>>(text)).rows);

  const started = (types: Readonly<Record<string, TaskPolicy>>) =>
    startService({
      DATABASE_URL: database.appUrl,
      ...WITH_WORKERS,
      LEASE_SECONDS,
      TASK_MAX_ATTEMPTS: '1000',
      TASK_TYPES: JSON.stringify(types),
    });

  beforeEach(async () => {
    database = await createTestDatabase();
    await sql(JOURNAL);
    replicas = [];
  });

  afterEach(async () => {
    await Promise.all(replicas.map((replica) => replica.stop()));
    await database.drop();
  });

  async function intervals(): Promise<readonly Interval[]> {
    const rows = (await sql(`SELECT task_id AS "taskId", owner_id AS owner, key, is_resumed AS "isResumed",
      extract(epoch FROM began)::float8 * 1000 AS "from", extract(epoch FROM ended)::float8 * 1000 AS "to"
      FROM public.leases ORDER BY began`)) as unknown as Interval[];
    return rows;
  }

  /** Runs tasks to their end, over all replicas. */
  async function run({
    policy,
    tasks = TASKS,
    owners = 1,
    keys = 1,
    workMs = 30,
    lost = 0,
    kills = 0,
  }: Run): Promise<void> {
    const taskType = uniqueId('limited');
    const types = { [taskType]: policy };
    replicas = await Promise.all(Array.from({ length: REPLICAS }, () => started(types)));
    const clients = Array.from({ length: owners }, () => newPrincipal(replicas[0]?.url ?? ''));
    await Promise.all(
      Array.from({ length: tasks }, async (_, n) => {
        const client = clients[n % owners] as Client;
        const { status } = await client.create({
          clientRequestId: uniqueId(),
          taskType,
          input: { key: `k${Math.floor(n / owners) % keys}` },
        });
        expect(status).toBe(201);
      }),
    );
    let done = 0;
    const over = new AbortController();
    const finish = async (worker: WorkerClient, lease: Lease) => {
      if (Math.random() < lost) return;
      await delay(workMs);
      if ((await worker.complete(lease).catch(() => undefined))?.status === 200) done += 1;
    };
    const working = Array.from({ length: REPLICAS * 4 }, async (_, n) => {
      while (!over.signal.aborted) {
        const worker = new WorkerClient(replicas[n % REPLICAS]?.url ?? '');
        try {
          const { body } = await worker.claim(
            { taskTypes: [taskType], maxTasks: 3, waitTimeoutMs: 2_000 },
            over.signal,
          );
          await Promise.all((body?.leases ?? []).map((lease) => finish(worker, lease)));
        } catch {
          // The replica was killed.
          await delay(50);
        }
      }
    });
    for (let killed = 0; killed < kills; killed += 1) {
      await eventually('some are done', () => done >= ((killed + 1) * tasks) / (kills + 2));
      const victim = replicas[killed % REPLICAS];
      victim?.kill('SIGKILL');
      await victim?.exited;
      replicas[killed % REPLICAS] = await started(types);
    }
    await eventually(
      'all are over',
      async () => {
        const [row] = (await sql(
          'SELECT count(*)::int AS n FROM taskbridge.proj_tasks WHERE finished_at IS NULL',
        )) as unknown as { n: number }[];
        return row?.n === 0;
      },
      110_000,
    );
    over.abort();
    await Promise.all(working);
  }

  return { run, intervals };
}
