import { parseArgs } from 'node:util';
import { isNativeError } from 'node:util/types';
import type { Client } from 'pg';
import { ConfigError, readMigrationConfig } from './boot/config.js';
import { connectWithin, NotConnected } from './database/connect-within.js';
import { connectionOptions } from './database/session-settings.js';
import { isConnectionFailure, sqlStateOf } from './database/database.errors.js';
import type { Queryable } from './database/queryable.js';
import { repairTask, type Repaired, RepairRefused } from './tasks/repair-task.js';
import { taskIdFrom } from '#protocol/ids.js';
import { isTaskId } from './tasks/domain/task-id.js';

// Each refusal is one line that an operator can act on, without a stack. May be run at any time, and again.
try {
  const taskId = taskIdOf(process.argv.slice(2));
  const { ownerUrl, waitSeconds } = readMigrationConfig();
  const client = await connectWithin(waitSeconds, {
    ...connectionOptions(ownerUrl),
    application_name: 'taskbridge repair',
  });
  try {
    console.log(`task ${taskId}: ${outcomeOf(await repaired(client, taskId))}`);
  } finally {
    await client.end();
  }
} catch (error) {
  const refusal = lineOf(error);
  if (refusal === undefined) throw error;
  console.error(refusal);
  process.exitCode = 1;
}

async function repaired(client: Client, taskId: string): Promise<Repaired> {
  const tx: Queryable = {
    query: async <Row extends object>({ text }: { text: string }, values: readonly unknown[]) =>
      (await client.query<Row>(text, [...values])).rows,
  };
  try {
    await client.query('BEGIN');
    const outcome = await repairTask(tx, taskId);
    await client.query('COMMIT');
    return outcome;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    if (error instanceof RepairRefused) throw new RepairRefused(`task ${taskId}: ${error.message}`);
    throw error;
  }
}

function taskIdOf(args: string[]): string {
  try {
    const { task } = parseArgs({ args, options: { task: { type: 'string' } } }).values;
    const taskId = taskIdFrom(task ?? '');
    if (isTaskId(taskId)) return taskId;
  } catch {
    // The lines below report it.
  }
  throw new RepairRefused(
    '--task: must be the id of a task: npm run repair -- --task 01a20008-c848-7513-9292-28deaa2b6a3f',
  );
}

function outcomeOf({ adopted, isEnded, task }: Repaired): string {
  const events = `${adopted} ${adopted === 1 ? 'event' : 'events'} above its head`;
  if (isEnded) return `ended as FAILED with NOT_REPAIRABLE, behind ${events}`;
  const became = adopted === 0 ? 'made anew from its log' : `adopted ${events}`;
  return task.run.state === 'over' ? `${became}; it is over: ${task.status}` : `${became}; it goes on`;
}

function lineOf(error: unknown): string | undefined {
  if (error instanceof ConfigError || error instanceof RepairRefused) return error.message;
  if (error instanceof NotConnected) return `MIGRATION_DATABASE_URL: ${error.message}`;
  if (isConnectionFailure(error)) return 'MIGRATION_DATABASE_URL: the connection to PostgreSQL was lost';
  const state = sqlStateOf(error);
  if (!isNativeError(error) || state === undefined) return undefined;
  if (state === '42501') return 'MIGRATION_DATABASE_URL: this role may not repair tasks; connect as the owner';
  if (/^(3F000|42P01|42703)$/.test(state))
    return 'MIGRATION_DATABASE_URL: the schema is older than this build: npm run migrate';
  if (state === '55P03') return 'somebody else has the task at this moment: try again';
  return `PostgreSQL: ${error.message} (${state})`;
}
