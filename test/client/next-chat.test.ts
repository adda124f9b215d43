import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { startChromium } from '../support/chromium.js';
import { freePort } from '../support/free-port.js';
import { installLocked } from '../support/locked-folder.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';
import { HostileProxy } from './hostile-proxy.js';

const run = promisify(execFile);
const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const EXAMPLE = path('examples/next-chat');
const NEXT = join(EXAMPLE, 'node_modules/next/dist/bin/next');
/** What the build is made of. */
const SOURCES = ['app', 'next.config.mjs', 'package-lock.json', '../../packages/ai/src', '../../packages/client/src'];
/** The packages come from the registry, on a machine that lacks them, and the build takes half a minute. */
const BUILDING_MS = 600_000;
const ENV = { PATH: process.env['PATH'], HOME: process.env['HOME'], NEXT_TELEMETRY_DISABLED: '1' };

let database: TestDatabase;
let service: Service;
let start: () => Promise<Service>;
let next: ChildProcess;
let proxy: HostileProxy;
let browser: Browser;

beforeAll(async () => {
  await Promise.all(['packages/client', 'packages/ai', 'examples/next-chat'].map((name) => installLocked(path(name))));
  await run(path('node_modules/.bin/tsc'), ['-p', path('packages/ai')]);
  await buildUnlessFresh();
  const [port, nextPort] = [await freePort(), await freePort()];
  database = await createTestDatabase();
  const settings = {
    DATABASE_URL: database.appUrl,
    PORT: String(port),
    HOST_MODULE: join(EXAMPLE, 'host.mjs'),
    LEASE_SECONDS: '4',
  };
  start = () => startService(settings, { lifetime: 'file' });
  service = await start();
  next = spawn(process.execPath, [NEXT, 'start', '--hostname', '127.0.0.1', '--port', String(nextPort)], {
    cwd: EXAMPLE,
    env: { ...ENV, TASKBRIDGE_URL: service.url },
    stdio: 'ignore',
  });
  await eventually('Next listens', async () => (await fetch(`http://127.0.0.1:${nextPort}/chat/1`)).ok);
  // Nothing befalls its connections until a test cuts them.
  proxy = await HostileProxy.start({ targetPort: nextPort, random: Math.random, faults: 0 });
  browser = await startChromium();
}, BUILDING_MS);

afterAll(async () => {
  await proxy.close();
  next.kill('SIGKILL');
  await service.stop();
  await database.drop();
});

async function buildUnlessFresh(): Promise<void> {
  const changedAt = async (file: string): Promise<number> => {
    const found = await stat(file).catch(() => undefined);
    if (!found?.isDirectory()) return found?.mtimeMs ?? 0;
    return Math.max(...(await Promise.all((await readdir(file)).map((name) => changedAt(join(file, name))))));
  };
  const sources = await Promise.all(SOURCES.map((name) => changedAt(join(EXAMPLE, name))));
  if ((await changedAt(join(EXAMPLE, '.next/BUILD_ID'))) > Math.max(...sources)) return;
  await run(process.execPath, [NEXT, 'build'], { cwd: EXAMPLE, env: ENV });
}

const ANSWER = (said: string) => `You said: ${said}. The quick brown fox jumps over the lazy dog. `;

async function opened(): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  // The page with no id gives the chat one.
  await page.goto(proxy.url);
  await page.waitForURL('**/chat/*');
  await page.waitForFunction(`document.querySelector('main')?.getAttribute('aria-busy') === 'false'`);
  return page;
}

async function send(page: Page, text: string): Promise<void> {
  await page.fill('input', text);
  await page.click('button >> text=Send');
}

const shows = (page: Page, words: string, timeout = 20_000) =>
  page.waitForFunction(`document.querySelector('article.assistant')?.textContent.includes('${words}')`, undefined, {
    timeout,
  });
const isOver = (page: Page, timeout = 20_000) => page.waitForSelector('main[aria-busy="false"]', { timeout });
const answers = (page: Page) => page.locator('article.assistant > p').allTextContents();

describe('examples/next-chat', () => {
  it('streams an answer, through a cut after the second token and a reload in the middle', async () => {
    const page = await opened();
    await send(page, 'hello');
    await shows(page, 'You said: ');
    proxy.cut();
    await shows(page, 'quick brown');
    expect((await answers(page)).join()).not.toContain('lazy dog');
    await page.reload();
    await shows(page, 'You said');
    await shows(page, 'lazy dog');
    await isOver(page);
    expect(await answers(page)).toEqual([ANSWER('hello')]);
    expect(await page.locator('article').count()).toBe(2);
    await page.context().close();
  }, 60_000);

  it('asks for approval, also after a reload', async () => {
    const page = await opened();
    await send(page, 'delete it');
    await page.click('button >> text=Approve', { trial: true });
    await page.reload();
    expect(await page.textContent('legend')).toBe('delete_files {"folder":"/tmp/reports"}');
    await page.click('button >> text=Approve');
    await shows(page, 'The files are deleted.');
    await isOver(page);
    expect(await answers(page)).toEqual([ANSWER('delete it'), 'The files are deleted.']);
    expect(await page.textContent('fieldset')).toContain('It was approved.');
    await page.context().close();
  }, 60_000);

  it('goes on when the service is killed', async () => {
    const page = await opened();
    await send(page, 'go on');
    await shows(page, 'quick brown');
    service.kill('SIGKILL');
    await service.exited;
    service = await start();
    await shows(page, 'lazy dog', 60_000);
    await isOver(page, 30_000);
    expect(await answers(page)).toEqual([ANSWER('go on')]);
    expect(await page.locator('main [role=alert]').count()).toBe(0);
    await page.context().close();
  }, 120_000);

  it('ends a turn that is stopped', async () => {
    const page = await opened();
    await send(page, 'hello');
    await shows(page, 'You said: ');
    await page.click('button >> text=Stop');
    await isOver(page);
    const tasks = await fetch(`${service.url}/api/v1/tasks?status=CANCELLED`);
    expect(((await tasks.json()) as { items: unknown[] }).items).toHaveLength(1);
    await page.context().close();
  }, 60_000);
});
