import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { FULL } from '../../bench/sizes.js';
import { Tally } from '../../bench/tally.mjs';
import { cpuSeconds, familyCpuSeconds } from '../../bench/usage.js';

/** The peers are an installation and half a minute of CPU of their own. */
const IS_FULL = process.env['FULL'] === '1';
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

interface SoakReport {
  readonly samples: readonly {
    readonly phase: string;
    readonly xminAge: number;
    readonly indexBytes: Readonly<Record<string, number>>;
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
const soak = program('bench/soak.ts');

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

  it('measures the queue, with FULL=1 also beside the peers, and prints their settings', async () => {
    const goals = IS_FULL ? ['G15', 'G16', 'G17b', 'G18b', 'G19', 'G20b', 'W4'] : ['G18b', 'G19'];
    const json = join(folder, 'queue.json');
    const { code, stdout, stderr } = await bench('--smoke', '--only', goals.join(), '--json', json);
    expect({ code, stderr: stderr.replace(/^installing the peers: npm ci in .*\n/, '') }).toEqual({
      code: 0,
      stderr: '',
    });
    if (IS_FULL) expectPeers(stdout);
    const { outcomes } = JSON.parse(await readFile(json, 'utf8')) as Report;
    expect(outcomes.map(({ goal }) => goal)).toEqual(goals);
    for (const { ratio } of outcomes) expect(ratio.median).toBeGreaterThan(0);
  }, 300_000);

  function expectPeers(stdout: string): void {
    expect(stdout).toMatch(/^ +graphile-worker 0\.18\.0: concurrentJobs:24,maxPoolSize:25$/m);
    expect(stdout).toMatch(/^ +pg-boss 12\.38\.0: batchSize:500,burstWhenBatchFull:true\n +[\d.]+ tasks\/s, ours is /m);
    expect(stdout).toMatch(/^ +bullmq 6\.7\.0: concurrency:50, appendonly:yes,appendfsync:always\n +[\d.]+ /m);
  }

  it('has a run void in which a task was lost, or ran twice', async () => {
    const tally = new Tally(20);
    for (const ran of ['a', 'b']) tally.ran(ran);
    await tally.reaches(2);
    await expect(tally.reaches(3)).rejects.toThrow('1 of 3 tasks never ran');
    tally.ran('a');
    await expect(tally.reaches(2)).rejects.toThrow('2 tasks ran of 2, 1 once more');
    tally.begin();
    for (const ran of ['a', 'b']) tally.ran(ran);
    await tally.reaches(2);
  });

  it('names the goals that there are when it is asked for another one, and measures nothing', async () => {
    const { code, stdout, stderr } = await bench('--only', 'G99');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/there is no goal G99: G1, G2, /);
  });

  it('lists the goals', async () => {
    const { code, stdout } = await bench('--list');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^G1 +fan-out through Redis, steady, beside bare ws$/m);
    for (let goal = 1; goal <= 20; goal += 1) expect(stdout).toMatch(new RegExp(`^G${goal} `, 'm'));
  });

  it('repeats each side five times', () => {
    expect(FULL.repetitions).toBeGreaterThanOrEqual(5);
  });
});

describe('The soak of the queue', () => {
  /** Some seconds of churn. What it takes depends on the machine, so how long a claim takes is judged, and no reason to fail. */
  const short = ['--queue', '--minutes', '0.08', '--every', '1', '--limit', '100'];
  let json: string;

  beforeAll(() => {
    json = join(folder, 'soak.json');
  });

  it('finds the queue flat after the reader and VACUUM', async () => {
    const { code, stdout, stderr } = await soak(...short, '--json', json);
    expect({ code, stderr, stdout }).toEqual({ code: 0, stderr: '', stdout: expect.stringMatching(/^ok {2}dead/m) });
    expect(stdout).toMatch(/^phase +s +claims\/s .*\nbefore /);
    expect(stdout).toMatch(/\nok {2}dead rows .*\nok {2}claim p50 .*\nok {2}size of the indexes .*\n$/);
    const { samples } = JSON.parse(await readFile(json, 'utf8')) as SoakReport;
    const ages = (wanted: string) => samples.filter(({ phase }) => phase === wanted).map(({ xminAge }) => xminAge);
    // The gauge sees the reader. It is some seconds old, and so may show it in the first samples behind.
    expect(Math.max(...ages('reader'), ...ages('after'))).toBeGreaterThan(Math.max(...ages('before')));
  }, 120_000);

  it('fails while the reader stays: then VACUUM removes nothing, and the indexes grow', async () => {
    const { code, stdout } = await soak(...short, '--keep-reader', '--json', json);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^NO {2}dead rows that VACUUM left: \d{3,}, at most 50$/m);
    // How much they grow in some seconds depends on the machine.
    const { samples } = JSON.parse(await readFile(json, 'utf8')) as SoakReport;
    const sizeOf = (sample?: SoakReport['samples'][0]) =>
      Object.values(sample?.indexBytes ?? {}).reduce((sum, bytes) => sum + bytes, 0);
    expect(sizeOf(samples.at(-1))).toBeGreaterThan(sizeOf(samples.find(({ phase }) => phase === 'after')));
  }, 120_000);

  it.each([
    [[], '--queue says what to soak: npm run soak -- --queue'],
    [['--queue', '--minutes', '0'], '--minutes takes a number above 0, not 0'],
    [['--queue', '--every', 'often'], '--every takes a number above 0, not often'],
  ])('refuses %j in one line', async (args, line) => {
    expect(await soak(...args)).toEqual({ code: 1, stdout: '', stderr: `${line}\n` });
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
