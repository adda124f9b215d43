import { execFile } from 'node:child_process';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { debianProgram, type Program } from './debian.js';

const POSTGRES = {
  name: 'postgresql-15',
  variable: 'TEST_POSTGRES_15',
  packages: ['postgresql-15'],
  path: 'usr/lib/postgresql/15/bin/postgres',
};
/** The user as which root starts PostgreSQL, which refuses root. */
const NOBODY = { uid: 65_534, gid: 65_534 };

/**
 * Debian's PostgreSQL 15 with its JIT, which is on by default, in the form of the npm packages of the embedded one: answers the path of
 * a module in `directory` that names its programs.
 */
export async function postgres15(directory: string): Promise<string> {
  const { binary, libraries } = await reachable(await debianProgram(POSTGRES), directory);
  await mkdir(directory, { recursive: true });
  const wrapped = ['postgres', 'initdb'].map(async (name) => {
    const environment = libraries === undefined ? '' : `LD_LIBRARY_PATH='${libraries}' `;
    const path = join(directory, name);
    await writeFile(path, `#!/bin/sh\n${environment}exec '${join(dirname(binary), name)}' "$@"\n`, { mode: 0o755 });
    return `export const ${name} = ${JSON.stringify(path)};\n`;
  });
  const path = join(directory, 'index.mjs');
  await writeFile(path, (await Promise.all(wrapped)).join(''));
  return path;
}

/** PostgreSQL's user cannot reach the cache of a checkout below /root. */
async function reachable(program: Program, directory: string): Promise<Program> {
  const { binary, libraries } = program;
  if (libraries === undefined || process.getuid?.() !== 0) return program;
  const env = { LD_LIBRARY_PATH: libraries };
  const runs = await promisify(execFile)(binary, ['--version'], { env, ...NOBODY }).then(
    () => true,
    () => false,
  );
  if (runs) return program;
  const root = binary.slice(0, -POSTGRES.path.length);
  const copy = join(directory, 'copy/');
  await cp(root, copy, { recursive: true, verbatimSymlinks: true });
  return { binary: binary.replace(root, copy), libraries: libraries.replaceAll(root, copy) };
}
