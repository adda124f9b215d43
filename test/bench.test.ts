import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { FULL } from '../bench/sizes.js';

const root = fileURLToPath(new URL('../', import.meta.url));
const PROGRAM = [
  '--disable-warning=ExperimentalWarning',
  '--import',
  './test/support/typescript-hooks.js',
  'bench/run.ts',
];

interface Report {
  readonly date: string;
  readonly outcomes: readonly {
    readonly goal: string;
    readonly ratio: { readonly median: number };
    readonly ours: { readonly repetitions: readonly { readonly figure: number }[] };
  }[];
}

function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...PROGRAM, ...args], { cwd: root }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

describe('The bench', () => {
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'taskbridge-bench-test-'));
  });

  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('measures fan-out, appends and creates, prints a table and writes JSON', async () => {
    const json = join(folder, 'results.json');
    const { code, stdout, stderr } = await bench('--smoke', '--only', 'G3,g10', '--json', json);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^goal +what +against/);
    expect(stdout).toMatch(/^G3 .*\nG10 |^G3 [^]*^G10 /m);
    const { outcomes } = JSON.parse(await readFile(json, 'utf8')) as Report;
    expect(outcomes.map(({ goal }) => goal)).toEqual(['G3', 'G10']);
    for (const { ratio, ours } of outcomes) {
      expect(ratio.median).toBeGreaterThan(0);
      expect(ours.repetitions).toHaveLength(1);
    }
  }, 120_000);

  it('names the goals that there are when it is asked for another one, and measures nothing', async () => {
    const { code, stdout, stderr } = await bench('--only', 'G99');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/there is no goal G99: G1, G2, /);
  });

  it('lists the goals', async () => {
    const { code, stdout } = await bench('--list');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^G1 +fan-out through Redis, steady, beside bare ws$/m);
    for (let goal = 1; goal <= 14; goal += 1) expect(stdout).toMatch(new RegExp(`^G${goal} `, 'm'));
  });

  it('repeats each side five times', () => {
    expect(FULL.repetitions).toBeGreaterThanOrEqual(5);
  });
});
