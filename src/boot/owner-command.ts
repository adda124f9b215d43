import { isNativeError } from 'node:util/types';
import type { Client } from 'pg';
import { connectWithin, NotConnected } from '../database/connect-within.js';
import { isConnectionFailure, sqlStateOf } from '../database/database.errors.js';
import type { Queryable } from '../database/queryable.js';
import { connectionOptions } from '../database/session-settings.js';
import { ConfigError, readMigrationConfig } from './config.js';

export interface OwnerCommand {
  /** Of `npm run …`, and in the name of its session. */
  readonly name: string;
  /** For a role that may not: `repair tasks`. */
  readonly does: string;
  /** Of one statement. Defaults to that of the service. */
  readonly statementTimeoutMs?: number;
  /** The line of an error that only this command has. */
  readonly lineOf?: (error: unknown) => string | undefined;
}

/**
 * Runs a command with a connection of the owner. Each refusal is one line that an operator can act on, without a stack, and the exit
 * code is 1.
 */
export async function asOwner(
  { name, does, statementTimeoutMs, lineOf = () => undefined }: OwnerCommand,
  work: (db: Queryable, client: Client) => Promise<void>,
): Promise<void> {
  try {
    const { ownerUrl, waitSeconds } = readMigrationConfig();
    const client = await connectWithin(waitSeconds, {
      ...connectionOptions(ownerUrl),
      application_name: `taskbridge ${name}`,
      ...(statementTimeoutMs !== undefined && {
        statement_timeout: statementTimeoutMs,
        query_timeout: statementTimeoutMs + 10_000,
      }),
    });
    try {
      await work({ query: async ({ text }, values) => (await client.query(text, [...values])).rows }, client);
    } finally {
      await client.end();
    }
  } catch (error) {
    const line = lineOf(error) ?? refusal(error, does);
    if (line === undefined) throw error;
    console.error(line);
    process.exitCode = 1;
  }
}

function refusal(error: unknown, does: string): string | undefined {
  if (error instanceof ConfigError) return error.message;
  if (error instanceof NotConnected) return `MIGRATION_DATABASE_URL: ${error.message}`;
  if (isConnectionFailure(error)) return 'MIGRATION_DATABASE_URL: the connection to PostgreSQL was lost';
  const state = sqlStateOf(error);
  if (!isNativeError(error) || state === undefined) return undefined;
  if (state === '42501') return `MIGRATION_DATABASE_URL: this role may not ${does}; connect as the owner`;
  if (/^(3F000|42P01|42703)$/.test(state))
    return 'MIGRATION_DATABASE_URL: the schema is older than this build: npm run migrate';
  return `PostgreSQL: ${error.message} (${state})`;
}
