import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type pg from 'pg';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Release 0.1.0. */
const RELEASE = '23f1fe5';

/** What the boot guard of release 0.1.0 has against the connected role. Its statement is read from the history of the repository. */
export async function oldRoleFindings(client: pg.Client): Promise<readonly object[]> {
  const { stdout } = await promisify(execFile)('git', ['show', `${RELEASE}:src/database/role-findings.ts`], {
    cwd: ROOT,
  });
  const statement = /const FINDINGS = `\n(.*?)`;/s.exec(stdout)?.[1];
  if (statement === undefined || statement.includes('${')) throw new Error(`${RELEASE} has no statement of findings`);
  return (await client.query(statement)).rows;
}
