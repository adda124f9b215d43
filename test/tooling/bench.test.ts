import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { FULL } from '../../bench/sizes.js';
import { cpuSeconds, familyCpuSeconds } from '../../bench/usage.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const NODE_OPTIONS = ['--disable-warning=ExperimentalWarning', '--import', './test/support/typescript-hooks.js'];

interface Report {
  readonly date: string;
  readonly outcomes: readonly {
    readonly goal: string;
    readonly ratio: { readonly median: number };
    readonly ours: { readonly repetitions: readonly { readonly figure: number }[] };
  }[];
}

interface PairedReport {
  readonly base: string;
  readonly outcomes: readonly {
    readonly operation: string;
    readonly isWithin: boolean;
    readonly both: PairedFigures;
    readonly service: PairedFigures;
    readonly postgres: PairedFigures;
    readonly pairs: readonly unknown[];
  }[];
}

interface PairedFigures {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
  readonly ours: number;
  readonly base: number;
}

function program(file: string) {
  return (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
    new Promise((resolve) => {
      execFile(process.execPath, [...NODE_OPTIONS, file, ...args], { cwd: root }, (error, stdout, stderr) => {
        resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
      });
    });
}

const bench = program('bench/run.ts');
const paired = program('bench/paired.ts');

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'taskbridge-bench-test-'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('The bench', () => {
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

describe('The paired bench', () => {
  const tiny = ['--pairs', '1', '--count', '20'];
  let json: string;

  const measured = async () => JSON.parse(await readFile(json, 'utf8')) as PairedReport;

  beforeAll(() => {
    json = join(folder, 'paired.json');
  });

  it('measures the CPU of two builds by turns, prints a table and writes JSON', async () => {
    const { stdout, stderr } = await paired('--base', 'dist', ...tiny, '--limit', '100', '--json', json);
    expect(stderr).toBe('');
    expect(stdout).toMatch(
      /^pair 1 of 1: create [\d.]+, claim [\d.]+, append [\d.]+, end [\d.]+\noperation +CPU of +ratio +from\.\.to +µs ours +µs base +≤ 100\ncreate +both .* ok\n +service /,
    );
    const { base, outcomes } = await measured();
    expect(base).toBe(join(root, 'dist'));
    expect(outcomes.map(({ operation }) => operation)).toEqual(['create', 'claim', 'append', 'end']);
    for (const { both, service, postgres, pairs, isWithin } of outcomes) {
      expect({ isWithin, pairs: pairs.length }).toEqual({ isWithin: true, pairs: 1 });
      for (const figures of [both, service, postgres]) {
        for (const value of Object.values(figures) as number[]) expect(value > 0 && value < Infinity).toBe(true);
        expect(figures.lowest).toBe(figures.highest);
      }
      expect(service.ours + postgres.ours).toBeCloseTo(both.ours, 6);
      expect(service.base + postgres.base).toBeCloseTo(both.base, 6);
    }
  }, 180_000);

  it('fails and names what is above the limit', async () => {
    const args = ['--base', 'dist', ...tiny, '--only', 'claim, end', '--limit', '0.01', '--json', json];
    const { code, stdout, stderr } = await paired(...args);
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'above 0.01 of dist: claim, end\n' });
    expect(stdout).toMatch(/^claim +both .* NO$/m);
    expect((await measured()).outcomes.map(({ operation, isWithin }) => ({ operation, isWithin }))).toEqual([
      { operation: 'claim', isWithin: false },
      { operation: 'end', isWithin: false },
    ]);
  }, 180_000);

  const noBuild = (base: string) =>
    `there is no commit and no build ${base} (a shallow clone lacks old commits: git fetch --unshallow)`;

  it.each([
    [[], '--base names the commit, or the folder of a build, to compare with'],
    [['--base', 'no-such-commit'], noBuild('no-such-commit')],
    [['--base=--all'], noBuild('--all')],
    [['--base', 'src'], noBuild('src')],
    [['--base', 'dist', '--only', 'create,delete'], 'there is no operation delete: create, claim, append, end'],
    [['--base', 'dist', '--pairs', '0'], '--pairs takes a whole number from 1 to 999999, not 0'],
    [['--base', 'dist', '--count', '1.5'], '--count takes a whole number from 1 to 999999, not 1.5'],
    [['--base', 'dist', '--limit', 'all'], '--limit takes a number above 0, not all'],
    [['--base', 'dist', '--pair', '1'], /^Unknown option '--pair'/],
    [['HEAD'], /^Unexpected argument 'HEAD'/],
  ])('refuses %j in one line, and measures nothing', async (args, line) => {
    const { code, stdout, stderr } = await paired(...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr.split('\n').length).toBe(2);
    expect(stderr.trimEnd()).toEqual(typeof line === 'string' ? line : expect.stringMatching(line));
  });

  it('counts a process, its children, and those of its children that ended', async () => {
    const burn = 'while (process.cpuUsage().user < 2e5);';
    const script = `const { spawn, spawnSync } = require('node:child_process');
      spawnSync(process.execPath, ['-e', '${burn}']);
      const living = spawn(process.execPath, ['-e', '${burn} console.log(1); setInterval(() => {}, 1e6)']);
      living.stdout.once('data', () => console.log(JSON.stringify({ living: living.pid, own: process.cpuUsage() })));
      process.stdin.on('end', () => living.kill()).resume();`;
    const parent = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      const [line] = (await once(parent.stdout, 'data')) as [Buffer];
      const { living, own } = JSON.parse(String(line)) as { living: number; own: NodeJS.CpuUsage };
      const [family, child] = [await familyCpuSeconds(parent.pid ?? 0), await cpuSeconds(living)];
      expect(child).toBeGreaterThan(0.19);
      expect(family - child - (own.user + own.system) / 1e6).toBeGreaterThan(0.19);
    } finally {
      parent.stdin.end();
    }
  });
});
