import pg from 'pg';
import { Client } from './client.js';
import { connectionOptions } from './session-settings.js';
import { connectionCheck } from './connection-check.js';

export interface PoolOptions {
  readonly max: number;
  /** Called for connections that were lost while idle. Without it the pool replaces them in silence. */
  readonly onConnectionLost?: (error: Error) => void;
}

export function createPool(url: string, { max, onConnectionLost }: PoolOptions): pg.Pool {
  const pool = new pg.Pool({
    ...connectionOptions(url),
    Client,
    max,
    idleTimeoutMillis: 60_000,
    verify: (client, done) => void connectionCheck(client).then(() => done(), done),
  });
  // Without listeners one terminated backend ends the process: an idle client reports to the pool, a used one to itself.
  pool.on('error', (error) => onConnectionLost?.(error));
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}
