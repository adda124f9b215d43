import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { migrate } from '../../src/database/migrations/apply-migrations.js';
import { createTestDatabase, startSharedCluster, stopSharedCluster } from '../support/postgres.js';
import { startRedis } from '../support/redis.js';
import { cleanUp } from '../support/without-jest.js';
import { runScenario, type Sizes } from './scenario.js';

// `npm run test:faults -- --tasks 1000 --events 200 --kills 30 --seconds 900`: for a release. 0 is the only good answer.

const { values } = parseArgs({
  options: {
    tasks: { type: 'string', default: '200' },
    events: { type: 'string', default: '50' },
    subscribers: { type: 'string', default: '3' },
    kills: { type: 'string', default: '6' },
    seconds: { type: 'string', default: '150' },
    seed: { type: 'string', default: String(Date.now() % 100_000) },
    /** Leaves out the test files in their full sizes. */
    'skip-suite': { type: 'boolean', default: false },
  },
});

/** @throws on what is no number: a run of no tasks would find nothing */
function readSizes(): Sizes {
  const number = (name: keyof Sizes) => {
    if (!/^\d{1,6}$/.test(values[name])) throw new Error(`--${name} takes a whole number, not ${values[name]}`);
    return Number(values[name]);
  };
  return {
    ...{ tasks: number('tasks'), events: number('events'), subscribers: number('subscribers') },
    ...{ kills: number('kills'), seconds: number('seconds'), seed: number('seed') },
  };
}

const root = fileURLToPath(new URL('../../', import.meta.url));
/** Test files that do more with FULL=1, and those that inject faults. */
const SUITE = [
  ...['streaming/transports', 'tasks/races', 'tasks/crash', 'tasks/commit-order', 'tasks/append-queue'],
  ...['live-log/live-log-faults', 'live-log/redis-faults'],
];

function runSuite(): boolean {
  const jest = ['--disable-warning=ExperimentalWarning', '--experimental-vm-modules', 'node_modules/jest/bin/jest.js'];
  const files = SUITE.map((name) => `test/${name}.test.ts`);
  const options = { cwd: root, stdio: 'inherit', env: { ...process.env, FULL: '1' } } as const;
  return spawnSync(process.execPath, [...jest, '--runInBand', ...files], options).status === 0;
}

/** @returns whether every promise was kept */
async function runFaults(sizes: Sizes): Promise<boolean> {
  const cluster = await startSharedCluster(migrate);
  try {
    const [database, redis] = [await createTestDatabase(), await startRedis()];
    console.log(JSON.stringify(sizes));
    const surroundings = { database, redis, crashPostgres: () => cluster.crash(), say: console.log };
    const { report, violations } = await runScenario(sizes, surroundings);
    // Printed before the clean-up, which may fail: a run of this length is not repeated for that.
    console.log(report);
    for (const violation of violations.slice(0, 100)) console.log(violation);
    return violations.length === 0;
  } finally {
    await cleanUp().finally(() => stopSharedCluster());
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().finally(() => stopSharedCluster().finally(() => process.exit(1))));
}

const sizes = readSizes();
const suitePassed = values['skip-suite'] || runSuite();
const promisesKept = await runFaults(sizes);
process.exitCode = suitePassed && promisesKept ? 0 : 1;
