import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { migrate } from '../src/database/migrations/apply-migrations.js';
import { startSharedCluster, stopSharedCluster } from '../test/support/postgres.js';
import { cleanUp } from '../test/support/without-jest.js';
import type { Goal } from './goal.js';
import { GOALS } from './goals.js';
import { measure, type Outcome } from './measure.js';
import { circumstances, details, tableHead, tableRow } from './report.js';
import { FULL, SMOKE } from './sizes.js';
import { Stage } from './stage.js';

// `npm run bench`: every goal with its yardstick beside it. See README.md.

const { values } = parseArgs({
  options: {
    /** Names, with commas. */
    only: { type: 'string' },
    list: { type: 'boolean', default: false },
    /** Tiny sizes, to test the bench itself. */
    smoke: { type: 'boolean', default: false },
    json: { type: 'string', default: 'bench-results.json' },
    repetitions: { type: 'string' },
    /** Seconds of one repetition of a rate. Profiles need more. */
    seconds: { type: 'string' },
    /** Tasks of a drain. */
    backlog: { type: 'string' },
    /** The folder of another build of the service, measured in the same run. */
    before: { type: 'string' },
    /** A folder for CPU profiles of the service. */
    profiles: { type: 'string' },
  },
});

/** The running stage, for an interruption. */
const stages = new Set<Stage>();

const build = fileURLToPath(new URL('../dist', import.meta.url));

function chosenGoals(): readonly Goal[] {
  if (values.only === undefined) return GOALS;
  return values.only.split(',').flatMap((name) => {
    const found = GOALS.filter((goal) => goal.name.toLowerCase() === name.trim().toLowerCase());
    if (found.length === 0) throw new Error(`there is no goal ${name}: ${GOALS.map((goal) => goal.name).join(', ')}`);
    return found;
  });
}

/** @returns undefined when the run is void */
async function outcomeOf(goal: Goal): Promise<Outcome | { readonly goal: string; readonly void: string }> {
  const sizes = values.smoke ? SMOKE : FULL;
  const repetitions = Number(values.repetitions ?? sizes.repetitions);
  const seconds = Number(values.seconds ?? sizes.seconds);
  const backlog = Number(values.backlog ?? sizes.backlog);
  const stageFor = (folder: string) => new Stage({ ...sizes, repetitions, seconds, backlog }, folder, values.profiles);
  const stage = stageFor(build);
  const before = values.before === undefined ? undefined : stageFor(resolve(values.before));
  const open = [before, stage].filter((one) => one !== undefined);
  for (const one of open) stages.add(one);
  try {
    const said = (line: string) => process.stderr.isTTY && process.stderr.write(`\r\x1b[K${goal.name}: ${line}`);
    return await measure(goal, stage, said, before);
  } catch (error) {
    return { goal: goal.name, void: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  } finally {
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    for (const one of open) {
      await one.close();
      stages.delete(one);
    }
  }
}

async function run(goals: readonly Goal[]): Promise<boolean> {
  const outcomes = [];
  console.log(tableHead());
  for (const goal of goals) {
    const outcome = await outcomeOf(goal);
    if ('void' in outcome) console.log(`${goal.name.padEnd(6)}VOID: ${outcome.void}`);
    else console.log([tableRow(goal, outcome), ...details(goal, outcome)].join('\n'));
    outcomes.push(outcome);
  }
  await writeFile(values.json, `${JSON.stringify({ ...circumstances(build), outcomes }, undefined, 1)}\n`);
  return outcomes.every((outcome) => !('void' in outcome));
}

async function main(): Promise<void> {
  const goals = chosenGoals();
  if (values.list) {
    for (const { name, title, against } of goals) console.log(`${name.padEnd(5)} ${title}, beside ${against}`);
    return;
  }
  if (!existsSync(join(build, 'main.js'))) throw new Error('there is no build to measure: npm run build');
  await startSharedCluster(migrate, { durable: true });
  try {
    if (!(await run(goals))) process.exitCode = 1;
  } finally {
    await cleanUp();
    await stopSharedCluster();
  }
}

async function interrupted(): Promise<void> {
  await Promise.allSettled([...stages].map((stage) => stage.close()));
  await cleanUp();
  await stopSharedCluster();
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void interrupted().finally(() => process.exit(1)));
}
await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
