import pg from 'pg';
import type { ConnectionOptions } from './client.js';
import { VERSION } from '../build.js';
import { TLS_PARAMETERS, tlsMode } from './tls-mode.js';

/**
 * The settings of every session. They replace defaults of the server, the database and the role. pg_catalog first and pg_temp
 * last: neither a table of the same name nor a temporary one can take the place of ours. The statements rely on the locks and
 * snapshots of `read committed`. Every statement is planned once on a connection, for any values, because planning arrays takes
 * longer than running them. Every statement has its index. Sequential scans are off: on a small table they win, and the cached
 * plan would stay after the table has grown.
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
  enable_bitmapscan: 'off',
  jit: 'off',
} as const;

/** `infinity` has no place in a Date. A row that has it is read as the last, or the first, moment that RFC 3339 can write. */
const TYPES: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') => {
    const parse = pg.types.getTypeParser(oid, format as 'text') as (text: string) => unknown;
    if (oid !== pg.types.builtins.TIMESTAMPTZ) return parse;
    return (text: string) => {
      const value = parse(text);
      if (value === Infinity) return new Date('9999-12-31T23:59:59.999Z');
      return value === -Infinity ? new Date('0001-01-01T00:00:00.000Z') : value;
    };
  }) as typeof pg.types.getTypeParser,
};

/** Replicas of other builds know this one by it. Operators see a name of their own behind it. */
const SESSION_NAME = `taskbridge/${VERSION}`;

/** How long the server may take for one statement, locks included. The client gives up a little later, for dead networks. */
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

/**
 * The options of every connection. `pg` has no timeouts by default, and lets the parameters of a URL win over these options.
 *
 * @throws NotConnected where the URL asks for TLS in a way that cannot be had
 */
export function connectionOptions(url: string): ConnectionOptions {
  const [address, query = ''] = url.split(/\?(.*)/s, 2) as [string, string?];
  const parameters = new URLSearchParams(query);
  const options = parameters.get('options') ?? '';
  const { ways, direct } = tlsMode(parameters, isSocket(address, parameters));
  const own = parameters.get('application_name') ?? '';
  for (const name of ['options', 'application_name', 'client_encoding', ...TLS_PARAMETERS, ...Object.keys(TIMEOUTS)])
    parameters.delete(name);
  return {
    connectionString: parameters.size === 0 ? address : `${address}?${parameters}`,
    application_name: [SESSION_NAME, own].join(' ').trim(),
    types: TYPES,
    // The last of two equal options counts: ours.
    options: [options, ...Object.entries(PINNED).map(([name, value]) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`)]
      .join(' ')
      .trim(),
    ssl: ways.find((way) => way !== false) ?? false,
    ...(ways.length === 2 && { ways }),
    ...(direct && { sslnegotiation: 'direct' }),
    ...TIMEOUTS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  };
}

/** TLS is for the network: libpq never uses it over a socket of the machine. */
function isSocket(address: string, parameters: URLSearchParams): boolean {
  const authority = /^\w+:\/\/([^/?]*)/.exec(address)?.[1] ?? '';
  const host = parameters.get('host') || decodeURIComponent(authority.slice(authority.lastIndexOf('@') + 1));
  return host.startsWith('/');
}
