import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';

const CHECK = fileURLToPath(new URL('../../packages/checker/bin/check.mjs', import.meta.url));

/** What the checker says of histories, with what is in the database: as it would to an operator. Its code is 0 when every promise was kept. */
export async function check(histories: readonly (readonly object[])[], databaseUrl: string) {
  const child = spawn(process.execPath, [CHECK, '--database-url', databaseUrl], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'close');
  const lines = function* () {
    for (const history of histories) for (const entry of history) yield `${JSON.stringify(entry)}\n`;
  };
  const [report] = await Promise.all([text(child.stdout), pipeline(Readable.from(lines()), child.stdin)]);
  const [code] = (await exited) as [number | null];
  return { report, code };
}
