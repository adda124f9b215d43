import type { StoredStep } from '../domain/lease.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import { JsonText } from '../../json/json-text.js';
import type { FinishedStep } from './append-batch.js';

// Index of all of these: the primary key.

interface Row {
  task_id: string;
  step_key: string;
  result: string;
  event_id: string;
}

const STEPS: Statement = {
  name: 'read-steps',
  text: `SELECT task_id, step_key, result::text AS result, event_id FROM taskbridge.entries_steps
    WHERE task_id = ANY ($1::uuid[]) ORDER BY task_id, event_id`,
};

/** All finished steps of these tasks, oldest first. */
export async function readSteps(
  db: Queryable,
  taskIds: readonly string[],
): Promise<ReadonlyMap<string, readonly StoredStep[]>> {
  const byTask = Map.groupBy(await db.query<Row>(STEPS, [taskIds]), (row) => row.task_id);
  return new Map([...byTask].map(([taskId, rows]) => [taskId, rows.map(storedStep)]));
}

const STEP: Statement = {
  name: 'read-step',
  text: `SELECT task_id, step_key, result::text AS result, event_id FROM taskbridge.entries_steps
    WHERE task_id = $1 AND step_key = $2`,
};

export async function readStep(db: Queryable, taskId: string, key: string): Promise<StoredStep | undefined> {
  return (await db.query<Row>(STEP, [taskId, key])).map(storedStep)[0];
}

const INSERT: Statement = {
  name: 'insert-step',
  text: `INSERT INTO taskbridge.entries_steps (task_id, step_key, result, event_id, attempt) VALUES ($1, $2, $3, $4, $5)`,
};

/** For the slow path. `appendBatch` does the same in its own statement. */
export async function insertStep(
  tx: Queryable,
  taskId: string,
  { key, resultJson }: FinishedStep,
  { eventId, attempt }: { readonly eventId: number; readonly attempt: number },
): Promise<void> {
  await tx.query(INSERT, [taskId, key, resultJson, eventId, attempt]);
}

function storedStep(row: Row): StoredStep {
  return { key: row.step_key, result: new JsonText(row.result), eventId: Number(row.event_id) };
}
