import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { BrowserContextOptions } from 'playwright-core';
import { migrate } from '../../src/database/migrations/apply-migrations.js';
import { type Stage, startStage } from '../../test/console/stage.js';
import { startSharedCluster, stopSharedCluster } from '../../test/support/postgres.js';
import { eventually } from '../../test/support/service.js';
import { cleanUp } from '../../test/support/without-jest.js';

// `npm run screenshots`: the pictures of docs/images, from the real service. With a folder as its argument it makes one of every screen and
// state there, in light, dark and 360 px, to be looked at.

const IMAGES = fileURLToPath(new URL('../../docs/images/', import.meta.url));

const LOOKS = {
  light: { colorScheme: 'light', viewport: { width: 1200, height: 760 } },
  dark: { colorScheme: 'dark', viewport: { width: 1200, height: 760 } },
  narrow: { colorScheme: 'light', viewport: { width: 360, height: 760 } },
} as const satisfies Readonly<Record<string, BrowserContextOptions>>;
type Look = keyof typeof LOOKS;

/** Tasks in each state, by what a picture shows of them. */
async function play({ client, url }: Stage, areAll: boolean): Promise<Readonly<Record<string, string>>> {
  const ids: Record<string, string> = {};
  const create = async (name: string, taskType: string, input: Readonly<Record<string, unknown>> = {}) => {
    ids[name] = (await client.create({ clientRequestId: name, taskType, input })).body.taskId;
  };
  await create('invoice-4708', 'demo.greet', { steps: 2, stepMs: 10 });
  await create('invoice-4709', 'demo.fail', { message: 'The bank refused the transfer.' });
  await create('approval-of-4710', 'demo.approval', { question: 'Pay invoice 4710 now?' });
  if (areAll) {
    await create('retried', 'again');
    await create('count-4711', 'form');
    await create('hostile', 'hostile');
  }
  await create('nightly-import', 'demo.steps', { steps: 24, stepMs: 400 });
  await create('summary-of-4711', 'demo.stream', { chunks: 2_000 });
  await fetch(`${url}/api/v1/schedules/nightly-report`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      cron: '30 2 * * *',
      timeZone: 'Europe/Berlin',
      taskType: 'demo.greet',
      input: { name: 'Ada' },
    }),
  });
  return ids;
}

const SCREENS = [
  'tasks',
  'tasks?taskType=none',
  'questions',
  'stuck',
  'types',
  'schedules',
  'try',
  'system',
  'system?view=workers',
  'system?view=streams',
  'system?view=settings',
  'system?view=log',
];

async function take(stage: Stage, path: string, look: Look, file: string, isWhole = false): Promise<void> {
  const page = await stage.open(`/console/${path}`, LOOKS[look]);
  await eventually('nothing loads', async () => (await page.locator('[aria-busy=true]').count()) === 0);
  // Live progress, and the first answers about the reader.
  await page.waitForTimeout(1_500);
  await page.screenshot({ path: file, fullPage: isWhole });
  await page.context().close();
}

async function takeAll(stage: Stage, folder: string, ids: Readonly<Record<string, string>>): Promise<void> {
  const tasks = Object.entries(ids).map(([name, id]) => [`task-${name}`, `tasks/${id}`] as const);
  const all = [...SCREENS.map((path) => [path.replace(/\W+/g, '-'), path] as const), ...tasks];
  for (const look of Object.keys(LOOKS) as Look[])
    for (const [name, path] of all) await take(stage, path, look, `${folder}/${name}-${look}.png`, true);
}

await startSharedCluster(migrate);
try {
  const stage = await startStage();
  try {
    const ids = await play(stage, process.argv[2] !== undefined);
    const folder = process.argv[2];
    if (folder) {
      await mkdir(folder, { recursive: true });
      await takeAll(stage, folder, ids);
    } else {
      await mkdir(IMAGES, { recursive: true });
      await take(stage, 'tasks', 'light', `${IMAGES}console-tasks.png`);
      await take(stage, `tasks/${ids['nightly-import']}`, 'dark', `${IMAGES}console-task.png`);
      await take(stage, `tasks/${ids['approval-of-4710']}`, 'narrow', `${IMAGES}console-narrow.png`);
    }
  } finally {
    await stage.end();
  }
} finally {
  await cleanUp();
  await stopSharedCluster();
}
