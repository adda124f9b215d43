import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { startChromium } from '../support/chromium.js';
import { Client, uniqueId } from '../support/client.js';
import { installLocked } from '../support/locked-folder.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { type Gateway, startGateway } from './gateway.js';

const run = promisify(execFile);
const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const EXAMPLE = path('examples/react-upload');
/** Built before the tests, and not there when the directions of imports are checked. */
const BUILT: string = path('packages/react/dist/react/src/react-api.js');
const HOOKS_PAGE = path('packages/react/test/hooks-page.mjs');
const REACT = path('packages/react/node_modules');
/** The tools come from the registry, on a machine that lacks them. */
const FETCHING_MS = 300_000;

let database: TestDatabase;
let service: Service;
let gateway: Gateway;
let browser: Browser;
let bundles: string;

beforeAll(async () => {
  await Promise.all(
    ['packages/client', 'packages/react', 'examples/react-upload'].map((name) => installLocked(path(name))),
  );
  await run(path('node_modules/.bin/tsc'), ['-p', path('packages/react')]);
  bundles = await temporaryDirectory();
  await writeReadme();
  await Promise.all([
    bundle('react', HOOKS_PAGE),
    bundle('react-18', HOOKS_PAGE),
    bundle('react', join(bundles, 'main.jsx'), 'readme'),
  ]);
  await run('npm', ['run', 'build'], { cwd: EXAMPLE });
  database = await createTestDatabase();
  service = await startService(
    { DATABASE_URL: database.appUrl, HOST_MODULE: join(EXAMPLE, 'host.mjs') },
    { lifetime: 'file' },
  );
  const page = (name: string) =>
    `<!doctype html><div id="app"></div><script type="module" src="/bundles/${name}.js"></script>`;
  gateway = await startGateway({
    api: service.url,
    headersOf: () => ({}),
    folders: { bundles, assets: join(EXAMPLE, 'dist/assets'), upload: join(EXAMPLE, 'dist') },
    pages: { '/react': page('react'), '/react-18': page('react-18'), '/readme': page('readme') },
  });
  browser = await startChromium();
}, FETCHING_MS);

afterAll(async () => {
  await gateway.stop();
  await service.stop();
  await database.drop();
});

/** The page of the hooks with one of the two versions of React. */
async function bundle(version: string, page: string, name = version): Promise<void> {
  const dom = version.replace('react', 'react-dom');
  await run(path('packages/client/node_modules/.bin/esbuild'), [
    page,
    ...[
      '--bundle',
      '--jsx=automatic',
      '--format=esm',
      '--define:process.env.NODE_ENV="development"',
      `--outfile=${join(bundles, name)}.js`,
    ],
    `--alias:@taskbridge/client=${path('packages/client/dist/client/src/client-api.js')}`,
    `--alias:@taskbridge/react=${path('packages/react/dist/react/src/react-api.js')}`,
    `--alias:react=${join(REACT, version)}`,
    `--alias:react-dom=${join(REACT, dom)}`,
  ]);
}

/** The lines with which the page of the package begins, and what shows them. */
async function writeReadme(): Promise<void> {
  const page = await readFile(path('packages/react/README.md'), 'utf8');
  await writeFile(join(bundles, 'report.jsx'), /```jsx\n(.*?)```/s.exec(page)?.[1] ?? 'no block');
  const main = `import { createRoot } from 'react-dom/client';
    import { client, Provider, Report } from './report.jsx';
    const task = client.create('demo.stream', { chunks: 10 });
    createRoot(document.getElementById('app')).render(<Provider client={client}><Report task={task} /></Provider>);`;
  await writeFile(join(bundles, 'main.jsx'), main);
}

const text = (page: Page, id: string) => page.textContent(`#${id}`);
const connections = () => gateway.requests.filter((line) => line.includes('/tasks/ws')).length;

describe.each(['react', 'react-18'])('The hooks with %s', (version) => {
  it('follow a task over one connection in StrictMode, render what changes, and find it after a reload', async () => {
    const page = await browser.newPage();
    const before = connections();
    const key = uniqueId();
    await page.goto(`${gateway.url}/${version}#${key}`);
    await page.waitForFunction('globalThis.start');
    expect(await page.textContent('p')).toBe('nothing');
    await page.evaluate(`start({ name: 'Ada', steps: 30, stepMs: 50 })`);
    await page.waitForFunction(`document.querySelector('#status')?.textContent === 'running false'`);
    const id = await page.evaluate('started.created()');
    await page.waitForFunction(`document.querySelector('#status').textContent === 'completed true'`);
    expect(await text(page, 'percent')).toBe('100');
    expect(connections() - before).toBe(1);
    const { status, percent } = (await page.evaluate('renders')) as { status: number; percent: number };
    // StrictMode renders twice: creating, waiting, running, completed.
    expect(status).toBeLessThanOrEqual(10);
    expect(percent).toBeGreaterThan(20);
    await page.reload();
    await page.waitForFunction(`document.querySelector('#status')?.textContent === 'completed true'`);
    expect(await page.evaluate('started.id')).toBe(id);
    await page.close();
  }, 60_000);

  it('show and answer questions, and list tasks as they change', async () => {
    const page = await browser.newPage();
    await page.goto(`${gateway.url}/${version}#${uniqueId()}`);
    await page.waitForFunction('globalThis.showInbox');
    await page.evaluate('showInbox(true)');
    const client = new Client(service.url);
    await client.create({ clientRequestId: uniqueId(), taskType: 'demo.approval' });
    await page.click('#questions button');
    await page.waitForFunction(`document.querySelectorAll('#questions li').length === 0`);
    await page.evaluate(`start({ name: 'Ada', steps: 2 })`);
    await eventually('the list shows it', async () => /^ready COMPLETED/.test((await text(page, 'list')) ?? ''));
    await page.close();
  }, 60_000);
});

it('The first lines of the page of the package show a task', async () => {
  const page = await browser.newPage();
  await page.goto(`${gateway.url}/readme`);
  await page.waitForFunction(`/quick brown fox/.test(document.body.textContent)`);
  await page.waitForFunction(`document.querySelector('section').getAttribute('aria-busy') === 'false'`);
  await page.close();
}, 30_000);

it('The hooks render on a server, and follow nothing there', async () => {
  const { createHooks } = (await import(BUILT)) as {
    createHooks: () => Record<string, (...given: unknown[]) => unknown>;
  };
  const { createClient } = await import('../../packages/client/src/client-api.js');
  const require = createRequire(import.meta.url);
  const { createElement } = require(join(REACT, 'react')) as { createElement: (...given: unknown[]) => unknown };
  const { renderToString } = require(join(REACT, 'react-dom/server')) as {
    renderToString: (element: unknown) => string;
  };
  const { Provider, useTask, useQuestions } = createHooks();
  const client = createClient({ url: 'http://127.0.0.1:9' });
  const Show = () =>
    `${(useTask?.('01a2') as { status: string }).status} ${(useQuestions?.() as readonly unknown[]).length}`;
  expect(renderToString(createElement(Provider, { client }, createElement(Show)))).toBe('waiting 0');
  expect(client.connection.get()).toEqual({ status: 'idle' });
});

describe('examples/react-upload', () => {
  it('uploads a file, asks, imports with a progress bar, and survives a reload at each moment', async () => {
    const page = await browser.newPage();
    await page.goto(`${gateway.url}/upload/index.html`);
    const names = Array.from({ length: 20 }, (_, n) => `name ${n}`).join('\n');
    await page.setInputFiles('input', { name: 'names.txt', mimeType: 'text/plain', buffer: Buffer.from(names) });
    await page.waitForSelector('legend');
    expect(await page.textContent('legend')).toBe('Import 20 names?');
    await page.reload();
    await page.click('button >> text=Import');
    await page.waitForFunction(`document.querySelector('progress').value > 10`);
    await page.reload();
    await page.waitForFunction(`/20 names are imported/.test(document.body.textContent)`, undefined, {
      timeout: 20_000,
    });
    expect(await page.evaluate(`document.querySelector('progress').value`)).toBe(100);
    await page.close();
  }, 60_000);
});
