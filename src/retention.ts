import { setTimeout as delay } from 'node:timers/promises';
import { isNativeError } from 'node:util/types';
import { ConfigError, readRetentionConfig } from './boot/config.js';
import { connectWithin, NotConnected } from './database/connect-within.js';
import { connectionOptions } from './database/session-settings.js';
import { isConnectionFailure, sqlStateOf } from './database/database.errors.js';
import { noteRetention, removeFinishedTasks, removeOldAudit } from './database/remove-finished-tasks.js';

const INSUFFICIENT_PRIVILEGE = '42501';
/** A lock or a statement that took too long, or a deadlock: another session works on the same tasks, and will end. */
const MAY_PASS = ['55P03', '57014', '40P01', '40001'];
const TRIES = 5;
const PAUSE_MS = 1_000;

let removed = 0;

// Each refusal is one line that an operator can act on, without a stack. May be run at any time, by several at once.
try {
  const { retentionUrl, retentionDays, waitSeconds } = readRetentionConfig();
  const client = await connectWithin(waitSeconds, {
    ...connectionOptions(retentionUrl),
    application_name: 'taskbridge retention',
  });
  try {
    let step: number;
    do {
      step = await patiently(() => removeFinishedTasks(client, retentionDays));
      removed += step;
    } while (step > 0);
    let auditEntries = 0;
    do {
      step = await patiently(() => removeOldAudit(client));
      auditEntries += step;
    } while (step > 0);
    await patiently(() => noteRetention(client, { days: retentionDays, tasks: removed, auditEntries }));
    console.log(`removed ${removed} tasks that ended more than ${retentionDays} days ago`);
  } finally {
    await client.end();
  }
} catch (error) {
  const refusal = lineOf(error);
  if (refusal === undefined) throw error;
  console.error(removed > 0 ? `${refusal}; ${removed} tasks were removed before` : refusal);
  process.exitCode = 1;
}

/** Repeats a step that was rolled back because it took too long, a few times. */
async function patiently<T>(step: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await step();
    } catch (error) {
      if (attempt === TRIES || !MAY_PASS.includes(sqlStateOf(error) ?? '')) throw error;
      await delay(PAUSE_MS);
    }
  }
}

function lineOf(error: unknown): string | undefined {
  if (error instanceof ConfigError) return error.message;
  if (error instanceof NotConnected) return `RETENTION_DATABASE_URL: ${error.message}`;
  const state = sqlStateOf(error);
  if (state === INSUFFICIENT_PRIVILEGE) {
    return 'RETENTION_DATABASE_URL: this role may not remove tasks; connect as taskbridge_retention';
  }
  if (state !== undefined && MAY_PASS.includes(state)) {
    return `RETENTION_DATABASE_URL: another session locked the tasks to remove, at ${TRIES} tries (${state}): run it again`;
  }
  // PostgreSQL's words name objects, never a secret. A lost connection's may name an address.
  if (state !== undefined && isNativeError(error)) {
    return `RETENTION_DATABASE_URL: ${error.message.replaceAll(/\s+/g, ' ')} (${state})`;
  }
  return isConnectionFailure(error) ? 'RETENTION_DATABASE_URL: the connection to PostgreSQL was lost' : undefined;
}
