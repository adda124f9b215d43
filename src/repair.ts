import { parseArgs } from 'node:util';
import type { Client } from 'pg';
import { asOwner } from './boot/owner-command.js';
import { sqlStateOf } from './database/database.errors.js';
import type { Queryable } from './database/queryable.js';
import { repairTask, type Repaired, RepairRefused } from './tasks/repair-task.js';
import { taskIdFrom } from '#protocol/ids.js';
import { isTaskId } from './tasks/domain/task-id.js';

// May be run at any time, and again.
const taskId = taskIdOf(process.argv.slice(2));
if (taskId === undefined) {
  console.error('--task: must be the id of a task: npm run repair -- --task 01a20008-c848-7513-9292-28deaa2b6a3f');
  process.exitCode = 1;
} else await asOwner({ name: 'repair', does: 'repair tasks', lineOf }, (db, client) => repair(taskId, db, client));

async function repair(taskId: string, db: Queryable, client: Client): Promise<void> {
  try {
    await client.query('BEGIN');
    const outcome = await repairTask(db, taskId);
    await client.query('COMMIT');
    console.log(`task ${taskId}: ${outcomeOf(outcome)}`);
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    if (error instanceof RepairRefused) throw new RepairRefused(`task ${taskId}: ${error.message}`);
    throw error;
  }
}

function taskIdOf(args: string[]): string | undefined {
  try {
    const { task } = parseArgs({ args, options: { task: { type: 'string' } } }).values;
    const taskId = taskIdFrom(task ?? '');
    return isTaskId(taskId) ? taskId : undefined;
  } catch {
    return undefined;
  }
}

function outcomeOf({ adopted, beyond, isEnded, task }: Repaired): string {
  const events = `${adopted} ${adopted === 1 ? 'event' : 'events'} above its head`;
  if (isEnded) {
    const rest = beyond === undefined ? '' : `; event ${beyond} is too far above them and stays as it is`;
    return `ended as FAILED with NOT_REPAIRABLE, behind ${events}${rest}`;
  }
  const became = adopted === 0 ? 'made anew from its log' : `adopted ${events}`;
  return task.run.state === 'over' ? `${became}; it is over: ${task.status}` : `${became}; it goes on`;
}

function lineOf(error: unknown): string | undefined {
  if (error instanceof RepairRefused) return error.message;
  return sqlStateOf(error) === '55P03' ? 'somebody else has the task at this moment: try again' : undefined;
}
