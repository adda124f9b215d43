import { parseArgs } from 'node:util';
import { migrate } from '../../src/database/migrations/apply-migrations.js';
import { startChromium } from '../support/chromium.js';
import { pythonWithClient } from '../support/python.js';
import { startSharedCluster, stopSharedCluster } from '../support/postgres.js';
import { cleanUp } from '../support/without-jest.js';
import { chaosInNode } from './chaos.js';
import { chaosInPython } from './chaos-python.js';
import { chaosInChromium } from './chaos-pages.js';
import type { ChaosVerdict } from './chaos-sizes.js';
import { startStage } from './stage.js';

// `npm run test:chaos -- --runs 1000 --pages 100 --seed 7`, and `npm run test:chaos -- --python --runs 300`: for a release. Prints each run that was wrong. 0 is the only good answer.

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '1000' },
    pages: { type: 'string', default: '100' },
    seed: { type: 'string', default: String(Date.now() % 100_000) },
    /** By the client for Python, and no pages. */
    python: { type: 'boolean', default: false },
    /** How many runs in Node go on side by side. */
    'at-a-time': { type: 'string', default: '25' },
  },
});

const PAGES_AT_A_TIME = 5;

/** @throws on what is no number: a run of nothing would find nothing */
function number(name: 'runs' | 'pages' | 'seed' | 'at-a-time'): number {
  if (!/^\d{1,6}$/.test(values[name])) throw new Error(`--${name} takes a whole number, not ${values[name]}`);
  return Number(values[name]);
}

const [runs, seed, atATime] = [number('runs'), number('seed'), number('at-a-time')];
const pages = values.python ? 0 : number('pages');
let wrong = 0;
let over = 0;
const say = (verdict: ChaosVerdict) => {
  over += 1;
  if (over % 50 === 0) console.log(`${over} runs are over`);
  if (verdict.wrong.length === 0) return;
  wrong += 1;
  console.log(JSON.stringify(verdict, null, 2));
};

await startSharedCluster(migrate);
try {
  const stage = await startStage();
  const sizes = { port: stage.nginx.port, headers: stage.headersOf('alice'), seed, atATime };
  console.log(JSON.stringify({ runs, pages, seed }));
  if (runs > 0 && values.python) await chaosInPython(await pythonWithClient(), { ...sizes, runs }, say);
  else if (runs > 0) await chaosInNode({ ...sizes, runs }, say);
  if (pages > 0) await chaosInChromium(await startChromium(), { ...sizes, runs: pages, atATime: PAGES_AT_A_TIME }, say);
  await stage.end();
} finally {
  await cleanUp().finally(() => stopSharedCluster());
}
console.log(`${over - wrong} passed, ${wrong} failed`);
process.exitCode = wrong === 0 && over === runs + pages ? 0 : 1;
