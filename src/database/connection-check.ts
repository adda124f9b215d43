import type { ClientBase } from 'pg';
import { PINNED } from './session-settings.js';
import type { Violation } from './violation.js';

/** A connection that must not serve: its session settings would break the guarantees. */
export class UnfitConnection extends Error {
  override readonly name = 'UnfitConnection';
}

interface SessionRow {
  readonly synchronous_commit: string;
  readonly search_path: string;
  readonly read_only: string;
  readonly standby: boolean;
  readonly same_role: boolean;
  readonly superuser: boolean;
}

const SESSION = `SELECT current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('search_path') AS search_path,
    current_setting('transaction_read_only') AS read_only,
    pg_is_in_recovery() AS standby,
    current_user = session_user AS same_role,
    current_setting('is_superuser') = 'on' AS superuser`;

/** The rules that this session breaks. A pooler in between can drop the options of the start of a connection. */
export async function sessionViolations(client: ClientBase): Promise<readonly Violation[]> {
  const [session] = (await client.query<SessionRow>(SESSION)).rows;
  if (session === undefined) throw new Error('a SELECT without FROM answered no row');
  const rules: readonly [rule: string, broken: boolean, text: string][] = [
    // off loses answered writes in a crash; local and remote_write lose them in a failover.
    [
      'synchronous_commit',
      !['on', 'remote_apply'].includes(session.synchronous_commit),
      'synchronous_commit is not on',
    ],
    [
      'search_path',
      session.search_path !== PINNED.search_path,
      `search_path is not the pinned one, ${PINNED.search_path}; a pooler such as PgBouncer drops the options of a session`,
    ],
    [
      'read_only',
      session.read_only !== 'off',
      session.standby
        ? 'this server is a standby, which takes no writes: name the primary'
        : 'the session is read-only',
    ],
    ['switched_role', !session.same_role, 'the session runs as another role than the one that logged in'],
    ['superuser', session.superuser, 'the session is a superuser'],
  ];
  return rules.filter(([, broken]) => broken).map(([rule, , text]) => ({ rule, message: `DATABASE_URL: ${text}` }));
}

/** Runs on every new connection of the pool, and takes one round trip. */
export async function connectionCheck(client: ClientBase): Promise<void> {
  const violations = await sessionViolations(client);
  if (violations.length > 0) throw new UnfitConnection(violations.map(({ message }) => message).join('; '));
}
