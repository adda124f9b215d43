import type { ClientBase } from 'pg';

interface Table {
  readonly name: string;
  readonly columns: readonly string[];
  readonly key: readonly string[];
}

const TABLES = `SELECT c.relname AS name,
    ARRAY(SELECT a.attname::text FROM pg_attribute AS a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns,
    ARRAY(SELECT a.attname::text FROM pg_index AS i, unnest(i.indkey::int[]) WITH ORDINALITY AS k (attnum, place),
        pg_attribute AS a
      WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.attnum ORDER BY k.place) AS key
  FROM pg_class AS c WHERE c.relnamespace = 'taskbridge'::regnamespace AND c.relkind = 'r' ORDER BY c.relname`;

/** Every row of the schema `taskbridge` as an INSERT, by table and primary key. */
export async function dumpOf(client: ClientBase): Promise<string> {
  await client.query("SET timezone = 'UTC'; SET datestyle = 'ISO'; SET extra_float_digits = 1");
  const lines: string[] = [];
  for (const { name, columns, key } of (await client.query<Table>(TABLES)).rows) {
    const { rows } = await client.query<{ row: string }>(
      `SELECT concat_ws(', ', ${columns.map((column) => `quote_nullable(${column}::text)`).join(', ')}) AS row
       FROM taskbridge.${name} ORDER BY ${key.join(', ')}`,
    );
    const into = `INSERT INTO taskbridge.${name} (${columns.join(', ')})`;
    lines.push(...rows.map(({ row }) => `${into}\n  VALUES (${row});\n`));
  }
  return lines.join('');
}
