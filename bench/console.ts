import { gzipSync } from 'node:zlib';
import type { Browser, Page } from 'playwright-core';
import { migrate } from '../src/database/migrations/apply-migrations.js';
import { type Stage, startStage } from '../test/console/stage.js';
import { uniqueId } from '../test/support/client.js';
import { startSharedCluster, stopSharedCluster } from '../test/support/postgres.js';
import { eventually } from '../test/support/service.js';
import { cleanUp } from '../test/support/without-jest.js';
import { median } from './median.js';
import { scriptTasksIn } from './script-tasks.js';

// `npm run bench:console`: the console in Chromium, on the real service. Each figure is the median of five runs, and has its bound.

const RUNS = 5;
const LONG_LOG = 100_000;
const EVENTS_PER_SECOND = 1_000;
const LIVE_SECONDS = 8;
const LONG_TASK_MS = 50;

interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly atMost: number;
  readonly values: readonly number[];
}

/** A page of its own, in a context without a cache. */
async function inPage<T>({ browser, url }: Stage, path: string, look: (page: Page) => Promise<T>): Promise<T> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  try {
    const page = await context.newPage();
    await page.addInitScript(SHOWN_AT);
    await page.goto(url + path);
    return await look(page);
  } finally {
    await context.close();
  }
}

/** Notes when an element with the class or the role of a row is painted first. */
const SHOWN_AT = `
  new MutationObserver((_, observer) => {
    if (!document.querySelector('ol li [aria-expanded], tbody tr')) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.shownAt = performance.now(); }));
  }).observe(document, { childList: true, subtree: true });
`;

const shownAt = (page: Page) =>
  eventually('the rows are there', async () => (await page.evaluate('window.shownAt')) as number | undefined);

/** Every run in turn, so that a busy second of the machine meets one of them. */
async function repeated(run: () => Promise<number>): Promise<readonly number[]> {
  const values = [];
  for (let n = 0; n < RUNS; n += 1) values.push(await run());
  return values;
}

async function create({ client }: Stage, taskType: string, input: Readonly<Record<string, unknown>>): Promise<string> {
  return (await client.create({ clientRequestId: uniqueId(), taskType, input })).body.taskId;
}

/** From the navigation to the rows of the newest events. */
async function opening(stage: Stage): Promise<Figure> {
  const id = await create(stage, 'demo.burst', { events: LONG_LOG });
  const isOver = async () => (await stage.client.snapshot(id)).body.status === 'COMPLETED';
  await eventually('the long task is over', isOver, 300_000);
  const values = await repeated(() => inPage(stage, `/console/tasks/${id}`, shownAt));
  return { name: `a task of ${LONG_LOG.toLocaleString('en')} events opens`, unit: 'ms', atMost: 1_000, values };
}

/** The share of long tasks among those of the main thread in which our scripts ran. */
async function live(stage: Stage, browser: Browser): Promise<Figure> {
  const input = { events: (LIVE_SECONDS + 6) * EVENTS_PER_SECOND, perSecond: EVENTS_PER_SECOND };
  const values = await repeated(async () => {
    const id = await create(stage, 'paced', input);
    return inPage(stage, `/console/tasks/${id}`, async (page) => {
      await shownAt(page);
      const head = async () => Number((await stage.client.snapshot(id)).body.headEventId);
      const before = await head();
      await browser.startTracing(page, { categories: ['devtools.timeline', 'disabled-by-default-devtools.timeline'] });
      await page.waitForTimeout(LIVE_SECONDS * 1_000);
      const tasks = scriptTasksIn(await browser.stopTracing());
      const rate = ((await head()) - before) / LIVE_SECONDS;
      const long = tasks.filter((ms) => ms > LONG_TASK_MS).length;
      console.log(`  ${Math.round(rate)} events/s, ${tasks.length} tasks of scripts, ${long} above ${LONG_TASK_MS} ms`);
      await stage.client.cancel(id);
      return (100 * long) / tasks.length;
    });
  });
  return {
    name: `tasks of scripts above ${LONG_TASK_MS} ms at ${EVENTS_PER_SECOND} events/s`,
    unit: '%',
    atMost: 1,
    values,
  };
}

/** What the list of tasks loads, and asks, before it is there. */
async function firstLoad(stage: Stage): Promise<readonly Figure[]> {
  const entries = await inPage(stage, '/console/tasks', async (page) => {
    await shownAt(page);
    return (await page.evaluate(`({
      paintedAt: performance.getEntriesByName('first-contentful-paint')[0].startTime,
      resources: performance.getEntriesByType('resource').map(({ name, startTime }) => ({ name, startTime })),
    })`)) as { paintedAt: number; resources: readonly { name: string; startTime: number }[] };
  });
  const sizeOf = async (ending: string) => {
    const urls = entries.resources.map(({ name }) => name).filter((name) => name.endsWith(ending));
    const bodies = await Promise.all(urls.map(async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer())));
    return bodies.reduce((sum, bytes) => sum + gzipSync(bytes).length, 0) / 1_024;
  };
  const asked = entries.resources.filter(
    ({ name, startTime }) => name.includes('/api/') && startTime < entries.paintedAt,
  );
  return [
    { name: 'scripts of the first load, gzip', unit: 'KiB', atMost: 200, values: [await sizeOf('.js')] },
    { name: 'styles of the first load, gzip', unit: 'KiB', atMost: 15, values: [await sizeOf('.css')] },
    { name: 'requests to the API before the first paint', unit: '', atMost: 1, values: [asked.length] },
  ];
}

async function main(): Promise<void> {
  await startSharedCluster(migrate);
  try {
    const stage = await startStage({ MAX_EVENTS_PER_TASK: '200000', LEASE_SECONDS: '60' });
    try {
      const figures = [await opening(stage), await live(stage, stage.browser), ...(await firstLoad(stage))];
      for (const { name, unit, atMost, values } of figures) {
        const value = median(values);
        const isOk = value <= atMost;
        if (!isOk) process.exitCode = 1;
        const range = values.length > 1 ? ` (${values.map((one) => one.toFixed(1)).join(', ')})` : '';
        console.log(`${isOk ? 'ok' : 'NO'}  ${name}: ${value.toFixed(1)} ${unit}, at most ${atMost}${range}`);
      }
    } finally {
      await stage.end();
    }
  } finally {
    await cleanUp();
    await stopSharedCluster();
  }
}

await main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
