import type { ClientConfig } from 'pg';

/**
 * What every connection runs under, whatever the server, the database or the role has for a default. pg_catalog first and
 * pg_temp last: neither a table of the same name nor a temporary one can take the place of ours. The readings of
 * locks and rows that the statements rely on are those of `read committed`. Every statement is planned once on a connection, for any
 * values: to plan one with arrays anew takes longer than to run it. Every one has its index, so that a plan that was made while a
 * table was small, and is kept while it grows, is not to read all of it.
 */
export const PINNED = {
  search_path: 'pg_catalog,taskbridge,pg_temp',
  synchronous_commit: 'on',
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  timezone: 'UTC',
  datestyle: 'ISO',
  client_encoding: 'UTF8',
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
} as const;

/** How long the server may work on one statement, or hold it up. The client gives up a little later, on a dead network. */
const STATEMENT_TIMEOUT_MS = 5_000;
const LOCK_TIMEOUT_MS = 3_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 7_000;
const CONNECT_TIMEOUT_MS = 2_000;

const TIMEOUTS = {
  statement_timeout: STATEMENT_TIMEOUT_MS,
  lock_timeout: LOCK_TIMEOUT_MS,
  idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
  query_timeout: ANSWER_TIMEOUT_MS,
};

/** How the service connects. `pg` has no timeouts of its own, and lets the parameters of a URL win over what is given here. */
export function connectionOptions(url: string): ClientConfig {
  const { bare, options } = withoutOverrides(url);
  return {
    connectionString: bare,
    application_name: 'taskbridge',
    // The last of two equal options counts: ours.
    options: [options, ...Object.entries(PINNED).map(([name, value]) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`)]
      .join(' ')
      .trim(),
    ...TIMEOUTS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  };
}

function withoutOverrides(url: string): { bare: string; options: string } {
  const [address, query] = url.split(/\?(.*)/s, 2) as [string, string | undefined];
  const parameters = new URLSearchParams(query ?? '');
  const options = parameters.get('options') ?? '';
  for (const name of ['options', 'client_encoding', ...Object.keys(TIMEOUTS)]) parameters.delete(name);
  return { bare: parameters.size === 0 ? address : `${address}?${parameters}`, options };
}
