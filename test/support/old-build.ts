import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type pg from 'pg';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Release 0.1.0. Its statements are read from the history of the repository. */
const RELEASE = '23f1fe5';

/** What the boot guard of release 0.1.0 has against the connected role. */
export async function oldRoleFindings(client: pg.Client): Promise<readonly object[]> {
  return (await client.query(await statementIn('src/database/role-findings.ts', 'FINDINGS'))).rows;
}

/** With the days, the most tasks and the most events of a step, as `$1` to `$3`. */
export function oldRetention(): Promise<string> {
  return statementIn('src/database/remove-finished-tasks.ts', 'REMOVE');
}

async function statementIn(path: string, name: string): Promise<string> {
  const { stdout } = await promisify(execFile)('git', ['show', `${RELEASE}:${path}`], { cwd: ROOT });
  const statement = new RegExp(`const ${name} = \`([^\`$]*(?:\\$\\d[^\`$]*)*)\`;`).exec(stdout)?.[1];
  if (statement === undefined) throw new Error(`${RELEASE} has no ${name} in ${path}`);
  return statement;
}
