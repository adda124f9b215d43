import { ConfigError, readRetentionConfig } from './boot/config.js';
import { connectWithin, NotConnected } from './database/connect-within.js';
import { connectionOptions } from './database/connection.js';
import { sqlStateOf } from './database/database.errors.js';
import { removeFinishedTasks } from './database/remove-finished-tasks.js';

const INSUFFICIENT_PRIVILEGE = '42501';

// Each refusal is one line that an operator can act on, without a stack. May be run at any time, by several at once.
try {
  const { retentionUrl, retentionDays, waitSeconds } = readRetentionConfig();
  const client = await connectWithin(waitSeconds, connectionOptions(retentionUrl));
  try {
    let removed = 0;
    let step: number;
    do {
      step = await removeFinishedTasks(client, retentionDays);
      removed += step;
    } while (step > 0);
    console.log(`removed ${removed} tasks that ended more than ${retentionDays} days ago`);
  } finally {
    await client.end();
  }
} catch (error) {
  const refusal = lineOf(error);
  if (refusal === undefined) throw error;
  console.error(refusal);
  process.exitCode = 1;
}

function lineOf(error: unknown): string | undefined {
  if (error instanceof ConfigError) return error.message;
  if (error instanceof NotConnected) return `RETENTION_DATABASE_URL: ${error.message}`;
  if (sqlStateOf(error) !== INSUFFICIENT_PRIVILEGE) return undefined;
  return 'RETENTION_DATABASE_URL: this role may not remove tasks; connect as taskbridge_retention';
}
