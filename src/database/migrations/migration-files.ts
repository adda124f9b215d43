import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MigrationRefused } from './migration-refused.js';

/** A part of an online migration: what it has done stays when a later part fails. */
export interface OnlineStep {
  readonly name: string;
  readonly sql: string;
  /**
   * `index`: CREATE INDEX CONCURRENTLY of this name. `batches`: repeated with the position that it answered as `$1`, first null,
   * until it answers none. `once`: one transaction.
   */
  readonly kind: 'index' | 'batches' | 'once';
}

export interface Migration {
  readonly version: number;
  /** The file's name. */
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
  /** The oldest build that can live with the schema after it. */
  readonly oldestBuild: number;
  /** Of a migration of the online kind, which runs outside of a transaction while the service serves. */
  readonly steps: readonly OnlineStep[] | undefined;
}

/** The same from src and from dist: both lie beside `migrations/`. */
export const MIGRATIONS_DIRECTORY = fileURLToPath(new URL('../../../migrations/', import.meta.url));

/** In order, without a gap. A missing or doubled number comes from a wrong merge. */
export async function readMigrations(directory: string = MIGRATIONS_DIRECTORY): Promise<readonly Migration[]> {
  const names = (await filesOf(directory)).filter((name) => name.endsWith('.sql')).sort();
  const migrations = await Promise.all(names.map((name) => readMigration(directory, name)));
  migrations.forEach(({ version, name }, index) => {
    if (version !== index + 1)
      throw new MigrationRefused(`${name}: number ${index + 1} was expected, there is a gap or a repeat`);
  });
  return migrations;
}

async function filesOf(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    throw new MigrationRefused(`${directory}: cannot be read (${(error as NodeJS.ErrnoException).code})`, {
      cause: error,
    });
  }
}

async function readMigration(directory: string, name: string): Promise<Migration> {
  const version = /^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)?.[1];
  if (version === undefined) throw new MigrationRefused(`${name}: is not named NNNN_name.sql`);
  // Other line ends in a checkout do not change the migration.
  const sql = (await readFile(join(directory, name), 'utf8')).replaceAll('\r\n', '\n');
  const oldestBuild = /^-- oldest-build: ([1-9]\d*)\n/.exec(sql)?.[1];
  if (oldestBuild === undefined) throw new MigrationRefused(`${name}: the first line is not "-- oldest-build: N"`);
  const checksum = createHash('sha256').update(sql).digest('hex');
  const steps = /^.*\n-- online\n/.test(sql) ? stepsOf(name, sql) : undefined;
  return { version: Number(version), name, sql, checksum, oldestBuild: Number(oldestBuild), steps };
}

function stepsOf(name: string, text: string): readonly OnlineStep[] {
  const [, ...parts] = text.split(/^-- step: /m);
  const steps = parts.map((part): OnlineStep => {
    const [, step, sql] = /^([a-z0-9_]+)\n(.*)$/s.exec(part) ?? [];
    if (step === undefined || sql === undefined)
      throw new MigrationRefused(`${name}: a step is not named "-- step: name"`);
    if (!/\bCONCURRENTLY\b/.test(sql)) return { name: step, sql, kind: sql.includes('$1') ? 'batches' : 'once' };
    if (new RegExp(`^(--.*\\n)*CREATE (UNIQUE )?INDEX CONCURRENTLY ${step} ON [^;]+;\\s*$`).test(sql))
      return { name: step, sql, kind: 'index' };
    throw new MigrationRefused(`${name}: the step ${step} is not one CREATE INDEX CONCURRENTLY of that name`);
  });
  if (new Set(steps.map((step) => step.name)).size < Math.max(steps.length, 1))
    throw new MigrationRefused(`${name}: has no step, or two of the same name`);
  return steps;
}
