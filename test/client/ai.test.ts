import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { startChromium } from '../support/chromium.js';
import { Client, uniqueId } from '../support/client.js';
import { freePort } from '../support/free-port.js';
import { installLocked } from '../support/locked-folder.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Service, startService, temporaryDirectory } from '../support/service.js';
import { type Gateway, startGateway } from './gateway.js';

const run = promisify(execFile);
const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
/** The tools come from the registry, on a machine that lacks them. */
const FETCHING_MS = 300_000;

let database: TestDatabase;
let service: Service;
let gateway: Gateway;
let browser: Browser;
let start: () => Promise<Service>;

beforeAll(async () => {
  await Promise.all(['packages/client', 'packages/ai'].map((name) => installLocked(path(name))));
  await run(path('node_modules/.bin/tsc'), ['-p', path('packages/ai')]);
  const bundles = await temporaryDirectory();
  await writeReadme(bundles);
  await bundle(path('packages/ai/test/chat-page.mjs'), join(bundles, 'chat.js'));
  await bundle(join(bundles, 'main.jsx'), join(bundles, 'readme.js'));
  const port = await freePort();
  database = await createTestDatabase();
  const settings = {
    DATABASE_URL: database.appUrl,
    PORT: String(port),
    HOST_MODULE: path('test/client/chat-host.mjs'),
    LEASE_SECONDS: '4',
  };
  start = () => startService(settings, { lifetime: 'file' });
  service = await start();
  const page = (name: string) =>
    `<!doctype html><meta charset="utf-8"><div id="app"></div><script type="module" src="/bundles/${name}.js"></script>`;
  gateway = await startGateway({
    api: service.url,
    headersOf: () => ({}),
    folders: { bundles },
    pages: { '/chat': page('chat'), '/readme': page('readme') },
  });
  browser = await startChromium();
}, FETCHING_MS);

afterAll(async () => {
  await gateway.stop();
  await service.stop();
  await database.drop();
});

async function bundle(entry: string, outfile: string): Promise<void> {
  await run(path('packages/client/node_modules/.bin/esbuild'), [
    entry,
    ...['--bundle', '--jsx=automatic', '--format=esm', '--define:process.env.NODE_ENV="development"'],
    `--outfile=${outfile}`,
    `--alias:@taskbridge/client=${path('packages/client/dist/client/src/client-api.js')}`,
    `--alias:@taskbridge/ai=${path('packages/ai/dist/ai/src/ai-api.js')}`,
    ...['react', 'react-dom', 'ai', '@ai-sdk/react'].map(
      (name) => `--alias:${name}=${path(`packages/ai/node_modules/${name}`)}`,
    ),
  ]);
}

/** The lines with which the page of the package begins, and what shows them. */
async function writeReadme(folder: string): Promise<void> {
  const page = await readFile(path('packages/ai/README.md'), 'utf8');
  await writeFile(join(folder, 'readme.jsx'), /```jsx\n(.*?)```/s.exec(page)?.[1] ?? 'no block');
  const main = `import { createRoot } from 'react-dom/client';
    import { Chat } from './readme.jsx';
    createRoot(document.getElementById('app')).render(<Chat id={location.hash.slice(1)} />);`;
  await writeFile(join(folder, 'main.jsx'), main);
}

const ANSWER = (run: number) => `Run ${run}: one two three four five six seven eight. `;

async function opened(): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${gateway.url}/chat#${uniqueId()}`);
  await page.waitForFunction(`globalThis.chat?.status === 'ready'`);
  return page;
}

const send = (page: Page, text: string) => page.evaluate(`void chat.sendMessage({ text: '${text}' })`);
const text = (page: Page) => page.textContent('#text');
const reached = (page: Page, status: string, ms = 30_000) =>
  page.waitForFunction(`document.querySelector('#status')?.textContent === '${status}'`, undefined, { timeout: ms });
const shows = (page: Page, words: string, ms = 20_000) =>
  page.waitForFunction(`document.querySelector('#text')?.textContent.includes('${words}')`, undefined, { timeout: ms });
const asksFor = (page: Page) => page.waitForSelector('button', { timeout: 20_000 });

/** Fails where the page ever showed a text that is not the beginning of one of these. */
async function expectShown(page: Page, ...texts: readonly string[]): Promise<void> {
  const shown = (await page.evaluate('shown')) as readonly string[];
  const question = (await page.evaluate(
    `chat.messages.filter(({ role }) => role === 'user').map(({ parts }) => parts[0].text)`,
  )) as readonly string[];
  expect(shown.filter((seen) => ![...texts, ...question].some((whole) => whole.startsWith(seen)))).toEqual([]);
}

describe('A chat of the AI SDK', () => {
  it('shows the answer as it grows, and its metadata', async () => {
    const page = await opened();
    await send(page, 'hello');
    await shows(page, 'one two');
    expect(await page.textContent('#status')).toBe('streaming');
    await reached(page, 'ready');
    expect(await text(page)).toBe(ANSWER(1));
    const last = (await page.evaluate('chat.messages.at(-1)')) as { id: string; metadata: object; parts: object[] };
    expect(last.metadata).toEqual({ taskId: last.id, result: { attempt: 1 } });
    expect(last.parts).toContainEqual(expect.objectContaining({ type: 'reasoning', text: 'thinking', state: 'done' }));
    await expectShown(page, ANSWER(1));
    await page.context().close();
  }, 60_000);

  it('goes on over a cut after the second token', async () => {
    const page = await opened();
    await send(page, 'hello');
    await shows(page, 'Run 1: ');
    gateway.cut();
    await reached(page, 'ready');
    expect(await text(page)).toBe(ANSWER(1));
    await expectShown(page, ANSWER(1));
    await page.context().close();
  }, 60_000);

  it('survives a reload in the middle, and shows a turn that ended while nobody looked', async () => {
    const page = await opened();
    await send(page, 'hello');
    await shows(page, 'one two');
    await page.reload();
    await reached(page, 'streaming');
    await reached(page, 'ready');
    expect(await text(page)).toBe(ANSWER(1));
    expect(await page.evaluate('chat.messages.length')).toBe(2);
    await send(page, 'once more');
    await shows(page, 'one two');
    const url = page.url();
    await page.goto('about:blank');
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await page.goto(url);
    await shows(page, ANSWER(1).trim());
    await reached(page, 'ready');
    expect(await text(page)).toBe(ANSWER(1));
    expect(await page.evaluate('chat.messages.length')).toBe(4);
    await page.context().close();
  }, 60_000);

  it('takes what a retried attempt voids off the screen, and shows the text once', async () => {
    const page = await opened();
    await send(page, 'again');
    await reached(page, 'streaming');
    await reached(page, 'ready');
    expect(await text(page)).toBe(ANSWER(2));
    await expectShown(page, ANSWER(1), ANSWER(2));
    await page.context().close();
  }, 60_000);

  it('goes on when the service is killed', async () => {
    const page = await opened();
    await send(page, 'step');
    await shows(page, 'This stays. ');
    await shows(page, 'one two');
    service.kill('SIGKILL');
    await service.exited;
    service = await start();
    await shows(page, 'Run 2: one two', 60_000);
    await reached(page, 'ready', 60_000);
    expect(await text(page)).toBe(`This stays. ${ANSWER(2)}`);
    await expectShown(page, `This stays. ${ANSWER(1)}`, `This stays. ${ANSWER(2)}`);
    expect(await page.evaluate('globalThis.error')).toBe(undefined);
    await page.context().close();
  }, 120_000);

  it.each([
    ['approve', 'send', 'output-available'],
    ['deny', 'discard', 'output-denied'],
  ])(
    'asks for approval, also after a reload: %s',
    async (button, action, state) => {
      const page = await opened();
      await send(page, 'ask');
      await asksFor(page);
      expect(await page.textContent('.tool')).toContain('send_mail {"to":"ada-0"} approval-requested');
      await page.reload();
      await asksFor(page);
      expect(await text(page)).toBe(ANSWER(1));
      await page.click(`button >> text=${button}`);
      await shows(page, `Answer 0: ${action} because.`);
      await reached(page, 'ready');
      // What was before the question was put out again behind it.
      expect((await text(page))?.split('|').join('')).toBe(`${ANSWER(1)}Answer 0: ${action} because. `);
      expect(await page.textContent('.tool')).toContain(state);
      const answer = await fetch(`${service.url}/api/v1/tasks?taskType=chat&suspended=true`);
      expect(((await answer.json()) as { items: unknown[] }).items).toEqual([]);
      await page.context().close();
    },
    60_000,
  );

  it('asks twice in one turn, and keeps both answers over a reload', async () => {
    const page = await opened();
    await send(page, 'step ask ask');
    await asksFor(page);
    await page.click('button >> text=approve');
    await page.waitForFunction(`document.querySelectorAll('.tool').length === 2`);
    await page.click('button >> text=deny');
    await shows(page, 'Answer 1: discard because.');
    await reached(page, 'ready');
    const whole = await text(page);
    const tools = await page.locator('.tool').allTextContents();
    expect(tools.map((tool) => tool.split(' ').at(-1))).toEqual(['output-available', 'output-denied']);
    await page.reload();
    await shows(page, 'Answer 1: discard because.');
    await reached(page, 'ready');
    expect(await text(page)).toBe(whole);
    expect(await page.locator('.tool').allTextContents()).toEqual(tools);
    expect(whole?.match(/This stays/g)).toHaveLength(1);
    await page.context().close();
  }, 60_000);

  it('shows the answer that was first, where another device has answered', async () => {
    const page = await opened();
    await send(page, 'ask');
    await asksFor(page);
    const taskId = (await page.evaluate('chat.messages.at(-1).id')) as string;
    const client = new Client(service.url);
    const { openSuspension } = (await client.snapshot(taskId)).body;
    await client.post(`/api/v1/tasks/${taskId}/actions`, {
      clientActionId: uniqueId(),
      suspendId: openSuspension?.suspendId,
      actionType: 'discard',
      payload: { reason: 'first' },
    });
    await page.click('button >> text=approve');
    await shows(page, 'Answer 0: discard first.');
    await reached(page, 'ready');
    expect(await page.textContent('.tool')).toContain('output-denied');
    await page.context().close();
  }, 60_000);

  it('ends a question that expired', async () => {
    const page = await opened();
    await send(page, 'expire ask');
    await asksFor(page);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await page.click('button >> text=approve');
    await reached(page, 'error');
    expect(await page.textContent('.tool')).toContain('output-error');
    await page.context().close();
  }, 60_000);

  it('says that a turn failed, also after a reload, and begins another', async () => {
    const page = await opened();
    await send(page, 'fail');
    await reached(page, 'error');
    expect(await page.evaluate('chat.error.message')).toBe('The model is away.');
    await page.reload();
    await reached(page, 'error');
    await send(page, 'hello');
    await reached(page, 'streaming');
    await reached(page, 'ready');
    expect(await text(page)).toBe(ANSWER(1));
    await page.context().close();
  }, 60_000);

  it('stops looking with stop(), and ends the task with cancel()', async () => {
    const page = await opened();
    await send(page, 'sleep');
    await shows(page, 'eight.');
    await page.evaluate('chat.stop()');
    await reached(page, 'ready');
    const taskId = (await page.evaluate('chat.messages.at(-1).id')) as string;
    const status = async () => (await new Client(service.url).snapshot(taskId)).body.status;
    expect(await status()).toBe('RUNNING');
    await page.reload();
    await reached(page, 'streaming');
    await page.evaluate(`cancel('enough')`);
    await reached(page, 'ready');
    expect(await status()).toBe('CANCELLED');
    expect(await text(page)).toBe(ANSWER(1));
    await page.context().close();
  }, 60_000);

  it('regenerates an answer as another task', async () => {
    const page = await opened();
    await send(page, 'hello');
    await reached(page, 'streaming');
    await reached(page, 'ready');
    const first = await page.evaluate('chat.messages.at(-1).id');
    await page.evaluate('void chat.regenerate()');
    await reached(page, 'streaming');
    await reached(page, 'ready');
    expect(await page.evaluate('chat.messages.length')).toBe(2);
    expect(await page.evaluate('chat.messages.at(-1).id')).not.toBe(first);
    expect(await text(page)).toBe(ANSWER(1));
    await page.context().close();
  }, 60_000);
});

it('The first lines of the page of the package are a chat', async () => {
  const page = await browser.newPage();
  await page.goto(`${gateway.url}/readme#${uniqueId()}`);
  await page.click('pre');
  await page.waitForFunction(`document.querySelector('pre').textContent.includes('seven eight.')`);
  await page.close();
}, 30_000);
