import type { ClientBase } from 'pg';
import { sqlStateOf } from '../database.errors.js';
import type { Violation } from '../violation.js';

/**
 * The number of the newest file in `migrations/` that is not of the online kind: the schema this build cannot do without. What
 * online ones after it make, statements only become faster by. A test compares the two.
 */
export const BUILD_SCHEMA_VERSION = 9;
/** Those online ones. A test compares them with the files. */
export const BUILD_ONLINE_VERSIONS: readonly number[] = [10, 11, 12, 13, 14, 15, 16];

/**
 * Whether this build can use the present schema. A newer schema is accepted, unless one of its migrations needs a newer build. So
 * replicas of two releases run side by side during a rollout.
 */
export async function checkSchema(
  client: ClientBase,
  build: number = BUILD_SCHEMA_VERSION,
): Promise<readonly Violation[]> {
  const applied = await readApplied(client);
  if (applied === 'unreadable') return [schemaViolation('the role may not read taskbridge.schema_migrations')];
  const missing = build - applied.filter(({ version }) => version <= build).length;
  if (missing > 0) {
    return [
      schemaViolation(`the schema lacks ${missing} of the ${build} migrations this build needs: npm run migrate`),
    ];
  }
  return applied
    .filter(({ oldest_build }) => oldest_build > build)
    .map(({ version, oldest_build }) =>
      schemaViolation(
        `migration ${version} needs build ${oldest_build} or newer, this is build ${build}: start a newer release`,
      ),
    );
}

/** The numbers of this build's online migrations that are not finished. The service serves without them. */
export async function unfinishedOnline(client: ClientBase): Promise<readonly number[]> {
  const applied = await readApplied(client);
  if (applied === 'unreadable') return [];
  return BUILD_ONLINE_VERSIONS.filter((online) => !applied.some(({ version }) => version === online));
}

function schemaViolation(text: string): Violation {
  return { rule: 'schema', message: `DATABASE_URL: ${text}` };
}

interface Applied {
  readonly version: number;
  readonly oldest_build: number;
}

async function readApplied(client: ClientBase): Promise<readonly Applied[] | 'unreadable'> {
  try {
    return (
      await client.query<Applied>('SELECT version, oldest_build FROM taskbridge.schema_migrations ORDER BY version')
    ).rows;
  } catch (error) {
    // No such table or schema: this database has no migration yet.
    if (['42P01', '3F000'].includes(sqlStateOf(error) ?? '')) return [];
    if (sqlStateOf(error) === '42501') return 'unreadable';
    throw error;
  }
}
