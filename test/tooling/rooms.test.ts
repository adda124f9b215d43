import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { MUTANTS } from '../mutants/mutants.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const page = readFileSync(join(root, 'test/README.md'), 'utf8');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };

/** The folders that have test files; `.` would be a file that lies in no room. */
const rooms = new Set(globSync('**/*.test.ts', { cwd: join(root, 'test') }).map((file) => dirname(file)));
const [, table = ''] = page.split('## What to run for which change');
const [changes = '', elsewhere = ''] = table.split('## What else there is');
/** The programs beside PostgreSQL that tests start: how a source names each. */
const PROGRAMS = {
  ...{
    'redis-server': /name: 'redis-server'|'bench\/run\.ts'/,
    nginx: /name: 'nginx'/,
    chromium: /name: 'chromium'/,
    tini: /name: 'tini'/,
  },
  ...{ promtool: /name: 'promtool'/, pgbouncer: /name: 'pgbouncer'/, openssl: /name: 'openssl'/, psql: /const PSQL/ },
  python3: /'python3'/,
};

/** The files outside of `src` that a test file imports, itself among them. */
function closureOf(file: string, found = new Set<string>()): ReadonlySet<string> {
  if (found.has(file)) return found;
  found.add(file);
  for (const [, path = ''] of readFileSync(file, 'utf8').matchAll(
    /^import (?!type )[^;]*from '(\.{1,2}\/[^']+)\.js'/gm,
  )) {
    const imported = `${join(dirname(file), path)}.ts`;
    if (/\/(test|bench)\//.test(imported) && existsSync(imported)) closureOf(imported, found);
  }
  return found;
}

const codeOf = (text: string) => [...text.matchAll(/`([^`\n]+)`/g)].map(([, code]) => code ?? '');

describe('test/README.md', () => {
  it('has one row for each room, with the command that runs it', () => {
    const commands = [...changes.matchAll(/^\|.*\| `npm test -- test\/([\w-]+)` \|/gm)].map(([, room]) => room);
    expect(commands.sort()).toEqual([...rooms].sort());
  });

  it('says which programs the tests of each room need', () => {
    const rows = [...changes.matchAll(/^\|.*\| `npm test -- test\/([\w-]+)` \| (.*?) \|/gm)];
    const said = rows.map(([, room = '', needs = '']) => ({ room, needs: codeOf(needs).sort() }));
    const needed = said.map(({ room }) => {
      const own = globSync(`test/${room}/*.test.ts`, { cwd: root, exclude: ['**/rooms.test.ts'] });
      const files = own.flatMap((file) => [...closureOf(join(root, file))]);
      const sources = [...new Set(files)].map((file) => readFileSync(file, 'utf8'));
      const programs = Object.entries(PROGRAMS).filter(([, names]) => sources.some((source) => names.test(source)));
      return { room, needs: programs.map(([program]) => program).sort() };
    });
    expect(said).toEqual(needed);
    expect(new Set(needed.flatMap(({ needs }) => needs))).toEqual(new Set(Object.keys(PROGRAMS)));
  });

  it('has a room for each folder and each program of src', () => {
    const named = new Set(codeOf(changes));
    const folders = globSync('src/*/', { cwd: root }).map((path) => path.replace(/\/$/, ''));
    expect(folders.length).toBeGreaterThan(12);
    expect(folders.filter((folder) => !named.has(folder))).toEqual([]);
  });

  it('names no path and no script that is not there', () => {
    const isPath = (code: string) => /^[\w.-]+(\/[\w.-]+)*$/.test(code) && !/^(TEST_|process\.)/.test(code);
    const paths = codeOf(page).filter((code) => isPath(code) && !(code in PROGRAMS));
    expect(paths.length).toBeGreaterThan(30);
    expect(paths.filter((path) => !existsSync(join(root, path)) && !existsSync(join(root, 'test', path)))).toEqual([]);

    const named = [...page.matchAll(/test\/[\w/-]+(?:\.test\.ts)?/g)].map(([path]) => path);
    expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);

    const scripts = [...elsewhere.matchAll(/npm run ([\w:-]+)/g)].map(([, script]) => script ?? '');
    expect(scripts.length).toBeGreaterThan(4);
    expect(scripts.filter((script) => !(script in manifest.scripts))).toEqual([]);
  });
});

describe('Every list of test files', () => {
  const [, suite = ''] =
    /^const SUITE = \[\n(.*?)^\];/ms.exec(readFileSync(join(root, 'test/faults/run.ts'), 'utf8')) ?? [];

  it.each([
    [
      'package.json',
      Object.values(manifest.scripts).flatMap((script) => script.match(/test\/[\w/-]+\.test\.ts/g) ?? []),
    ],
    ['test/faults', [...suite.matchAll(/'([\w/-]+)'/g)].map(([, file]) => `test/${file}.test.ts`)],
    ['test/mutants', MUTANTS.map(({ caughtBy }) => caughtBy.file)],
  ])('names in %s files that are there', (_where, named) => {
    expect(named.length).toBeGreaterThan(5);
    expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });
});
