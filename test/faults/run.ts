import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { migrate } from '../../src/database/migrate.js';
import { createTestDatabase, startSharedCluster, stopSharedCluster } from '../support/postgres.js';
import { startRedis } from '../support/redis.js';
import { cleanUp } from '../support/without-jest.js';
import { runScenario } from './scenario.js';
import type { Verdict } from './verdict.js';

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

const root = fileURLToPath(new URL('../../', import.meta.url));
/** Those that do more when FULL is 1, and those that break something. */
const SUITE = ['transports', 'races', 'crash', 'commit-order', 'live-log-faults', 'redis-faults', 'append-queue'];

function runSuite(): boolean {
  const jest = ['--disable-warning=ExperimentalWarning', '--experimental-vm-modules', 'node_modules/jest/bin/jest.js'];
  const files = SUITE.map((name) => `test/${name}.test.ts`);
  const options = { cwd: root, stdio: 'inherit', env: { ...process.env, FULL: '1' } } as const;
  return spawnSync(process.execPath, [...jest, '--runInBand', ...files], options).status === 0;
}

async function runFaults(): Promise<Verdict> {
  const cluster = await startSharedCluster(migrate);
  try {
    const [database, redis] = [await createTestDatabase(), await startRedis()];
    const number = (name: 'tasks' | 'events' | 'subscribers' | 'kills' | 'seconds' | 'seed') => Number(values[name]);
    const sizes = {
      ...{ tasks: number('tasks'), events: number('events'), subscribers: number('subscribers') },
      ...{ kills: number('kills'), seconds: number('seconds'), seed: number('seed') },
    };
    console.log(JSON.stringify(sizes));
    return await runScenario(sizes, { database, redis, crashPostgres: () => cluster.crash(), say: console.log });
  } finally {
    await cleanUp();
    await stopSharedCluster();
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().finally(() => stopSharedCluster().finally(() => process.exit(1))));
}

const suitePassed = values['skip-suite'] || runSuite();
const { report, violations } = await runFaults();
console.log(report);
for (const violation of violations.slice(0, 100)) console.log(violation);
process.exitCode = suitePassed && violations.length === 0 ? 0 : 1;
