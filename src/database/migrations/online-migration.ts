import { setTimeout as delay } from 'node:timers/promises';
import type { Client, QueryConfig } from 'pg';
import { sqlStateOf } from '../database.errors.js';
import type { OnlineStep } from './migration-files.js';

/** The longest time for one index. Its statement has no limit of the server, because it blocks no other session. */
const INDEX_TIMEOUT_MS = 7 * 24 * 60 * 60 * 1_000;
/** A lock that took too long, or a deadlock: another session worked on the same rows. */
const MAY_PASS = ['55P03', '40P01'];
const TRIES = 5;
const PAUSE_MS = 1_000;
const REPORT_MS = 10_000;

/** `pg` reads the limit of one statement from here, and its types leave it out. */
type TimedQuery = QueryConfig & { readonly query_timeout: number };

interface Progress {
  readonly step: string;
  readonly position: string | null;
  readonly is_finished: boolean;
}

/**
 * Runs the steps that are not finished, in order. A killed run leaves an index that is not valid, or a position: the next run
 * builds that index again and continues behind that position.
 */
export async function runOnline(
  client: Client,
  { version, name, steps }: { readonly version: number; readonly name: string; readonly steps: readonly OnlineStep[] },
  log: (line: string) => void,
): Promise<void> {
  // A server that builds an index for a client that is gone would hold the lock of migrations. Not every system can look.
  await client.query(`SET client_connection_check_interval = '1s'`).catch(() => {});
  const { rows } = await client.query<Progress>(
    'SELECT step, position, finished_at IS NOT NULL AS is_finished FROM taskbridge.schema_online_steps WHERE version = $1',
    [version],
  );
  const known = new Map(rows.map((row) => [row.step, row]));
  for (const step of steps) {
    const progress = known.get(step.name);
    if (progress?.is_finished === true) continue;
    const position = progress?.position ?? null;
    log(`${name}: ${position === null ? 'begins' : 'continues'} ${step.name}`);
    await run(client, step, {
      position,
      note: (at, isFinished) => note(client, version, step.name, at, isFinished),
      log: (line) => log(`${name}: ${line}`),
    });
  }
}

interface Run {
  readonly position: string | null;
  note(position: string | null, isFinished: boolean): Promise<void>;
  log(line: string): void;
}

async function run(client: Client, step: OnlineStep, { position, note, log }: Run): Promise<void> {
  switch (step.kind) {
    case 'index':
      await patiently(() => buildIndex(client, step));
      await note(null, true);
      return;
    case 'once':
      await patiently(() =>
        inTransaction(client, async () => {
          await client.query(step.sql);
          await note(null, true);
        }),
      );
      return;
    case 'batches':
      await runBatches(client, step, { position, note, log });
  }
}

/** Each batch and its position are one transaction. A pause as long as the batch leaves half of the time to others. */
async function runBatches(client: Client, step: OnlineStep, { position, note, log }: Run): Promise<void> {
  let at = position;
  let reportedAt = performance.now();
  for (let isFinished = false; !isFinished; ) {
    const beganAt = performance.now();
    const next = await patiently(() =>
      inTransaction(client, async () => {
        const { rows } = await client.query<{ position: string | null }>(step.sql, [at]);
        const following = rows[0]?.position ?? null;
        await note(following ?? at, following === null);
        return following;
      }),
    );
    isFinished = next === null;
    at = next ?? at;
    const now = performance.now();
    if (now - reportedAt > REPORT_MS) {
      reportedAt = now;
      log(`${step.name} is at ${at}`);
    }
    if (!isFinished) await delay(now - beganAt);
  }
}

async function buildIndex(client: Client, { name, sql }: OnlineStep): Promise<void> {
  const { rows } = await client.query<{ is_valid: boolean }>(
    `SELECT i.indisvalid AS is_valid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
      WHERE c.relnamespace = 'taskbridge'::regnamespace AND c.relname = $1`,
    [name],
  );
  if (rows[0]?.is_valid === true) return;
  // It waits for transactions of other sessions, which do not wait for it.
  await client.query('SET statement_timeout = 0; SET lock_timeout = 0');
  const statements = [...(rows.length > 0 ? [`DROP INDEX CONCURRENTLY taskbridge.${name}`] : []), sql];
  for (const text of statements) {
    const query: TimedQuery = { text, query_timeout: INDEX_TIMEOUT_MS };
    await client.query(query);
  }
  await client.query('RESET statement_timeout; RESET lock_timeout');
}

async function inTransaction<T>(client: Client, work: () => Promise<T>): Promise<T> {
  await client.query('BEGIN');
  try {
    const result = await work();
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  }
}

async function note(
  client: Client,
  version: number,
  step: string,
  position: string | null,
  isFinished: boolean,
): Promise<void> {
  await client.query(
    `INSERT INTO taskbridge.schema_online_steps (version, step, position, finished_at)
      VALUES ($1, $2, $3, CASE WHEN $4::boolean THEN clock_timestamp() END)
      ON CONFLICT (version, step) DO UPDATE SET position = excluded.position, finished_at = excluded.finished_at`,
    [version, step, position, isFinished],
  );
}

async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (tries === TRIES || !MAY_PASS.includes(sqlStateOf(error) ?? '')) throw error;
      await delay(PAUSE_MS);
    }
  }
}
