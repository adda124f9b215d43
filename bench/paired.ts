import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { buildOf, buildOfWorkingTree } from '../test/support/builds.js';
import { OPERATIONS, type Operation } from './contender.js';
import { measurePair, type Outcome, outcomeOf, type Pair, PARTS, ratioOf } from './pairs.js';
import { circumstances } from './report.js';
import { Stand } from './stand.js';

// `npm run bench:paired`: whether the build in dist takes more CPU than another. See README.md.

interface Asked {
  readonly base: string;
  readonly operations: readonly Operation[];
  readonly pairs: number;
  readonly count: number;
  readonly limit: number;
  readonly json: string;
}

/** Each refusal is one line. */
function readArguments(): Asked {
  const { values } = parseArgs({
    options: {
      /** The base of the comparison: a commit, or the folder of a build. */
      base: { type: 'string' },
      /** Names, with commas. The others run, too, and are not judged. */
      only: { type: 'string', default: OPERATIONS.join(',') },
      pairs: { type: 'string', default: '10' },
      /** Operations of each kind, for each side of a pair. */
      count: { type: 'string', default: '2000' },
      /** The greatest median of the ratios that passes. */
      limit: { type: 'string', default: '1.03' },
      json: { type: 'string', default: 'bench-paired.json' },
    },
  });
  if (!values.base) throw new Error('--base names the commit, or the folder of a build, to compare with');
  return {
    base: values.base,
    operations: values.only.split(',').map(operationNamed),
    pairs: wholeNumber('pairs', values.pairs),
    count: wholeNumber('count', values.count),
    limit: positive('limit', values.limit),
    json: values.json,
  };
}

function operationNamed(name: string): Operation {
  const found = OPERATIONS.find((operation) => operation === name.trim().toLowerCase());
  if (found === undefined) throw new Error(`there is no operation ${name}: ${OPERATIONS.join(', ')}`);
  return found;
}

function wholeNumber(name: string, text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new Error(`--${name} takes a whole number from 1 to 999999, not ${text}`);
  return Number(text);
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < Infinity)) throw new Error(`--${name} takes a number above 0, not ${text}`);
  return value;
}

const stands: Stand[] = [];

async function close(): Promise<void> {
  await Promise.allSettled(stands.splice(0).map((stand) => stand.close()));
}

async function run({ base, operations, pairs, count, limit, json }: Asked): Promise<void> {
  const [ourBuild, baseBuild] = [await buildOfWorkingTree(), await buildOf(base)];
  const start = async () => {
    const stand = await Stand.start();
    stands.push(stand);
    return stand;
  };
  const builds = { ours: ourBuild.dist, base: baseBuild.dist };
  const both: [Stand, Stand] = [await start(), await start()];
  const found: Record<Operation, Pair>[] = [];
  for (let nth = 0; nth < pairs; nth += 1) {
    const pair = await measurePair(builds, both, count, nth);
    found.push(pair);
    const ratios = operations.map((operation) => `${operation} ${ratioOf(pair[operation], PARTS.both).toFixed(3)}`);
    console.log(`pair ${nth + 1} of ${pairs}: ${ratios.join(', ')}`);
  }
  const outcomes = operations.map((operation) => {
    const of = found.map((pair) => pair[operation]);
    return outcomeOf(operation, of, count, limit);
  });
  print(outcomes, limit);
  const where = { ...circumstances(ourBuild.name), base: baseBuild.name };
  await writeFile(json, `${JSON.stringify({ ...where, count, limit, outcomes }, undefined, 1)}\n`);
  const above = outcomes.filter(({ isWithin }) => !isWithin).map(({ operation }) => operation);
  if (above.length > 0) throw new Error(`above ${limit} of ${base}: ${above.join(', ')}`);
}

const WIDTHS = [10, 10, 8, 14, 12, 12, 8];

function print(outcomes: readonly Outcome[], limit: number): void {
  row(['operation', 'CPU of', 'ratio', 'from..to', 'µs ours', 'µs base', `≤ ${limit}`]);
  for (const outcome of outcomes) {
    for (const part of Object.keys(PARTS) as (keyof typeof PARTS)[]) {
      const { median, lowest, highest, ours, base } = outcome[part];
      const isJudged = part === 'both';
      row([
        ...[isJudged ? outcome.operation : '', part, median.toFixed(3)],
        ...[`${lowest.toFixed(3)}..${highest.toFixed(3)}`, ours.toFixed(0), base.toFixed(0)],
        isJudged ? (outcome.isWithin ? 'ok' : 'NO') : '',
      ]);
    }
  }
}

function row(cells: readonly string[]): void {
  console.log(
    cells
      .map((cell, at) => cell.padEnd(WIDTHS[at] ?? 0))
      .join(' ')
      .trimEnd(),
  );
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void close().finally(() => process.exit(1)));
}
try {
  await run(readArguments());
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await close();
}
