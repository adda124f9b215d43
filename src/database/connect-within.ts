import { setTimeout as delay } from 'node:timers/promises';
import type { ClientConfig } from 'pg';
import { Client } from './client.js';
import { healsInTime, isConnectionFailure } from './database.errors.js';
import { NotConnected } from './not-connected.js';
import { reasonOf, refusalOf } from './connect-refusal.js';

export { NotConnected } from './not-connected.js';

const PAUSE_MS = 250;

/** A connection as soon as PostgreSQL accepts one. A fault that does not pass, such as a wrong password, is refused at once. */
export function connectWithin(
  waitSeconds: number,
  options: ClientConfig,
  onWait?: (reason: string) => void,
): Promise<Client> {
  return repeatWithin(waitSeconds, () => connect(options), onWait);
}

/** The result of `examine` on a connection. It connects again as long as PostgreSQL cuts the connection or is busy. */
export function examineWithin<T>(
  waitSeconds: number,
  options: ClientConfig,
  examine: (client: Client) => Promise<T>,
  onWait?: (reason: string) => void,
): Promise<T> {
  const attempt = async () => {
    const client = await connect(options);
    try {
      return await examine(client);
    } finally {
      await client.end().catch(() => {});
    }
  };
  return repeatWithin(waitSeconds, attempt, onWait);
}

async function repeatWithin<T>(
  waitSeconds: number,
  attempt: () => Promise<T>,
  onWait?: (reason: string) => void,
): Promise<T> {
  const deadline = performance.now() + waitSeconds * 1000;
  for (let hasWaited = false; ; hasWaited = true) {
    try {
      return await attempt();
    } catch (error) {
      const isSilent = isConnectionFailure(error);
      if (!isSilent && !healsInTime(error)) throw error;
      if (performance.now() + PAUSE_MS > deadline) {
        const what = isSilent ? 'did not answer' : 'was not ready';
        throw new NotConnected(`PostgreSQL ${what} within ${waitSeconds} s (${reasonOf(error)})`, { cause: error });
      }
      if (!hasWaited) onWait?.(reasonOf(error));
    }
    await delay(PAUSE_MS);
  }
}

async function connect(options: ClientConfig): Promise<Client> {
  const client = new Client(options);
  client.on('error', () => {});
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.end().catch(() => {});
    if (isConnectionFailure(error) || healsInTime(error)) throw error;
    throw new NotConnected(refusalOf(error, Boolean(options.ssl)), { cause: error });
  }
}
