import { setTimeout as delay } from 'node:timers/promises';
import { isNativeError } from 'node:util/types';
import pg, { type ClientConfig } from 'pg';
import { isConnectionFailure, sqlStateOf } from './database.errors.js';

/** No connection, and waiting would not help, or did not. The message names no address and no secret. */
export class NotConnected extends Error {
  override readonly name = 'NotConnected';
}

const PAUSE_MS = 250;

/** A connection as soon as PostgreSQL takes one. What time does not heal, such as a wrong password, is refused at once. */
export async function connectWithin(
  waitSeconds: number,
  options: ClientConfig,
  onWait?: (reason: string) => void,
): Promise<pg.Client> {
  const deadline = performance.now() + waitSeconds * 1000;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await connect(options);
    } catch (error) {
      if (!isNotUpYet(error)) throw new NotConnected(refusal(error), { cause: error });
      if (performance.now() + PAUSE_MS > deadline) {
        throw new NotConnected(`PostgreSQL did not answer within ${waitSeconds} s (${reason(error)})`, {
          cause: error,
        });
      }
      if (attempt === 1) onWait?.(reason(error));
    }
    await delay(PAUSE_MS);
  }
}

async function connect(options: ClientConfig): Promise<pg.Client> {
  const client = new pg.Client(options);
  client.on('error', () => {});
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
}

/** Starting, restarting, shutting down, full of connections, not in the DNS yet. */
function isNotUpYet(error: unknown): boolean {
  return /^(08...|57P0[123]|53300)$/.test(sqlStateOf(error) ?? '') || isConnectionFailure(error);
}

function refusal(error: unknown): string {
  const state = sqlStateOf(error) ?? '';
  if (state === '3D000') return 'there is no such database (3D000)';
  if (state.startsWith('28')) return `PostgreSQL refused the login (${state})`;
  if (isNativeError(error) && /password/.test(error.message)) return 'PostgreSQL wants a password';
  return `there is no connection to PostgreSQL (${reason(error)})`;
}

function reason(error: unknown): string {
  if (!isNativeError(error)) return 'unknown';
  // A system error's message has the address in it; its code has not.
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message.split('\n', 1).join();
}
