import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/**
 * The lines of dump.sql, out of the database. Needs the package `pg`, looked for where the program is run and where it is
 * installed: without it use psql (README.md).
 */
export async function storedLines(databaseUrl) {
  const { default: pg } = await driver();
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const sql = await readFile(new URL('../dump.sql', import.meta.url), 'utf8');
    const results = await client.query({ text: sql, rowMode: 'array' });
    return results.flatMap(({ rows }) => rows.map(([line]) => line));
  } finally {
    await client.end();
  }
}

async function driver() {
  for (const place of [join(process.cwd(), 'package.json'), import.meta.url]) {
    try {
      return await import(createRequire(place).resolve('pg'));
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  throw new Error('--database-url needs the package pg: npm install pg, or dump with psql (README.md)');
}
