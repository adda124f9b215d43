import { isNativeError } from 'node:util/types';
import { POOLER_REFUSES, sqlStateOf } from './database.errors.js';

/** Codes of Node and OpenSSL that need a sentence. Their own sentences contain addresses. */
const MEANINGS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'its host is not known',
  EAI_AGAIN: 'its host cannot be looked up',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name; sslmode=verify-ca does not look at the name',
  ...Object.fromEntries(
    [
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'UNABLE_TO_GET_ISSUER_CERT',
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    ].map((code) => [code, 'its certificate is of a CA that is not trusted; name the file of its CA in sslrootcert']),
  ),
};

/** Messages of `pg`, which has no codes. */
const SENTENCES: readonly (readonly [RegExp, string])[] = [
  [/^The server does not support SSL/, 'the server has no TLS, and sslmode asks for it'],
  [/^There was an error establishing an SSL/, 'what listens there is no PostgreSQL'],
  [/\bpassword\b/, 'PostgreSQL requires a password'],
];

/** In a clause: PostgreSQL's own words with their SQLSTATE, or what the code of a failure means. Never a password. */
export function reasonOf(error: unknown): string {
  if (!isNativeError(error)) return 'unknown';
  const state = sqlStateOf(error);
  if (state !== undefined) return `${error.message} (${state})`;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  if (code === undefined) return SENTENCES.find(([said]) => said.test(error.message))?.[1] ?? error.message;
  return MEANINGS[code] === undefined ? code : `${code}: ${MEANINGS[code]}`;
}

/**
 * Why there is no connection, and waiting would not help, in one sentence that begins a line.
 *
 * @param triedTls whether the URL let it be tried over TLS
 */
export function refusalOf(error: unknown, triedTls: boolean): string {
  const state = sqlStateOf(error) ?? '';
  const reason = reasonOf(error);
  if (state === '3D000') return 'there is no such database (3D000)';
  if (state === POOLER_REFUSES) {
    return `a pooler in between does not pass on the options of a session: ${reason}; connect to PostgreSQL itself`;
  }
  if (!state.startsWith('28')) return `there is no connection to PostgreSQL: ${reason}`;
  const hint = !triedTls && /no encryption|SSL off/.test(reason) ? '; sslmode=require asks for TLS' : '';
  return `PostgreSQL refused the login: ${reason}${hint}`;
}
