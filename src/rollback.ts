import { asOwner } from './boot/owner-command.js';
import type { Queryable } from './database/queryable.js';
import { OLD_INDEXES } from './database/migrations/old-indexes.js';
import { freeHeldTasks, tasksThatBlockARollback } from './tasks/store/rollback-rows.js';

const AT_A_TIME = 500;
/** Each statement may read a table of millions of tasks. */
const STATEMENT_TIMEOUT_MS = 600_000;

// Prepares a rollback to 0.1.0: one line for each task that blocks it, and then the exit code is 1. May be run at any time, and again.
await asOwner({ name: 'rollback', does: 'change tasks', statementTimeoutMs: STATEMENT_TIMEOUT_MS }, async (db) => {
  const freed = await freeAll(db);
  if (freed > 0) console.log(`freed ${freed} held ${freed === 1 ? 'task' : 'tasks'}`);
  // 0.1.0 claims without them, and reads the whole table for each claim.
  for (const [name, on] of Object.entries(OLD_INDEXES)) {
    await db.query(
      { name, text: `CREATE INDEX CONCURRENTLY IF NOT EXISTS ${name} ON taskbridge.proj_tasks ${on}` },
      [],
    );
  }
  const blocking = await tasksThatBlockARollback(db);
  for (const { taskId, asideCode, executor } of blocking) {
    const why =
      asideCode === null
        ? `runs at the engine ${executor}: wait for its end, or cancel it`
        : `is set aside (${asideCode}): npm run repair -- --task ${taskId}`;
    console.error(`task ${taskId}: ${why}`);
  }
  if (blocking.length === 0) console.log('nothing stands in the way of 0.1.0');
  else process.exitCode = 1;
});

async function freeAll(db: Queryable): Promise<number> {
  let freed = 0;
  for (;;) {
    const step = await freeHeldTasks(db, AT_A_TIME);
    if (step === 0) return freed;
    freed += step;
  }
}
