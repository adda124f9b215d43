import { randomBytes } from 'node:crypto';
import pg from 'pg';
import type { TestDatabase } from './postgres.js';

/** A login with the rights of the app role, and with those that a test adds. */
export interface AppRole {
  readonly url: string;
  /** The text with `$role`, `$other` and `$db` in place of the names of this run. */
  plain(text: string): string;
}

/**
 * Makes a role as the superuser, runs `work`, removes the role. Roles belong to the whole cluster, which test files share:
 * `taskbridge_app` itself must stay as it is. `statements` name the role `$role`, one more `$other`, the database `$db`.
 */
export async function withAppRole<T>(
  database: TestDatabase,
  statements: readonly string[],
  work: (role: AppRole) => Promise<T>,
): Promise<T> {
  const role = `judged_${randomBytes(4).toString('hex')}`;
  const other = `${role}_other`;
  const db = /\/(\w+)\?/.exec(database.superuserUrl)?.[1] ?? '';
  const superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  try {
    await superuser.query(`CREATE ROLE ${role} LOGIN IN ROLE taskbridge_app; CREATE ROLE ${other}`);
    try {
      for (const statement of statements) {
        await superuser.query(statement.replaceAll('$other', other).replaceAll('$role', role).replaceAll('$db', db));
      }
      return await work({
        url: database.appUrl.replace('taskbridge_app', role),
        plain: (text) => text.replaceAll(other, '$other').replaceAll(role, '$role').replaceAll(db, '$db'),
      });
    } finally {
      await superuser.query(`ALTER DATABASE ${db} RESET ALL`);
      await superuser.query(`DROP OWNED BY ${role}, ${other}; DROP ROLE ${role}, ${other}`);
    }
  } finally {
    await superuser.end();
  }
}
