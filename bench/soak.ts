import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { migrate } from '../src/database/migrations/apply-migrations.js';
import { startSharedCluster, stopSharedCluster } from '../test/support/postgres.js';
import { cleanUp } from '../test/support/without-jest.js';
import { bytesOf, QueueSoak, type Sample, type Verdict } from './queue-soak.js';
import { circumstances } from './report.js';
import { FULL } from './sizes.js';
import { Stage } from './stage.js';

// `npm run soak -- --queue`: an hour of churn with a reader open. See README.md.

const { values } = parseArgs({
  options: {
    /** What to soak. There is no other. */
    queue: { type: 'boolean', default: false },
    /** How long the reader stays. */
    minutes: { type: 'string', default: '60' },
    /** Seconds between two lines. */
    every: { type: 'string', default: '30' },
    /** How much slower a claim may be at the end than at the beginning. */
    limit: { type: 'string', default: '1.5' },
    /** The reader stays to the end: a soak that then finds nothing is broken. */
    'keep-reader': { type: 'boolean', default: false },
    json: { type: 'string', default: 'bench-soak.json' },
  },
});

const build = fileURLToPath(new URL('../dist', import.meta.url));
const COLUMNS = [
  ['phase', 7],
  ['s', 6],
  ['claims/s', 8],
  ['claim p50', 9],
  ['p99 ms', 8],
  ['dead rows', 9],
  ['xmin age', 9],
  ['indexes KiB', 11],
] as const;

function positive(name: 'minutes' | 'every' | 'limit'): number {
  const value = Number(values[name]);
  if (!(value > 0) || value === Infinity) throw new Error(`--${name} takes a number above 0, not ${values[name]}`);
  return value;
}

function row(cells: readonly (string | number)[]): string {
  return COLUMNS.map(([, width], at) => String(cells[at] ?? '').padEnd(width))
    .join(' ')
    .trimEnd();
}

function rowOf(sample: Sample): string {
  const { phase, seconds, claimsPerSecond, p50, p99, deadRows, xminAge } = sample;
  const kib = Math.round(bytesOf(sample) / 1024);
  return row([
    phase,
    seconds.toFixed(0),
    claimsPerSecond.toFixed(0),
    p50.toFixed(2),
    p99.toFixed(2),
    deadRows,
    xminAge,
    kib,
  ]);
}

function lineOf({ what, found, limit, isMet }: Verdict): string {
  return `${isMet ? 'ok ' : 'NO '} ${what}: ${found}, at most ${limit}`;
}

async function main(): Promise<void> {
  if (!values.queue) throw new Error('--queue says what to soak: npm run soak -- --queue');
  const [minutes, everySeconds, limit] = [positive('minutes'), positive('every'), positive('limit')];
  if (!existsSync(join(build, 'main.js'))) throw new Error('there is no build to soak: npm run build');
  await startSharedCluster(migrate, { durable: true });
  const stage = new Stage(FULL, build);
  stages.add(stage);
  try {
    console.log(row(COLUMNS.map(([name]) => name)));
    const samples: Sample[] = [];
    const soak = await QueueSoak.start(stage, { everySeconds, limit, keepsReader: values['keep-reader'] }, (sample) => {
      samples.push(sample);
      console.log(rowOf(sample));
    });
    const verdicts = await soak.run(minutes * 60);
    for (const verdict of verdicts) console.log(lineOf(verdict));
    await writeFile(values.json, `${JSON.stringify({ ...circumstances(build), samples, verdicts }, undefined, 1)}\n`);
    if (verdicts.some(({ isMet }) => !isMet)) process.exitCode = 1;
  } finally {
    await end();
  }
}

const stages = new Set<Stage>();

async function end(): Promise<void> {
  await Promise.allSettled([...stages].map((stage) => stage.close()));
  await cleanUp();
  await stopSharedCluster();
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void end().finally(() => process.exit(1)));
}
await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
