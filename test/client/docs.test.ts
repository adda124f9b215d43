import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { ERRORS } from '../../packages/protocol/src/errors.js';
import { startChromium } from '../support/chromium.js';
import { freePort } from '../support/free-port.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Gateway, startGateway } from './gateway.js';

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const IMPORTS =
  '<script type="importmap">{"imports":{"@taskbridge/client":"/client/client/src/client-api.js"}}</script>';
const PAGES = ['packages/client/README.md', 'docs/client-errors.md', 'docs/proxies.md'] as const;

interface Block {
  readonly name: string;
  readonly code: string;
}

async function blocksOf(name: string): Promise<readonly Block[]> {
  const text = await readFile(path(name), 'utf8');
  return [...text.matchAll(/```js\n(.*?)```/gs)].map(([, code = ''], n) => ({ name: `${name}, block ${n + 1}`, code }));
}

describe('The pages about clients', () => {
  let database: TestDatabase;
  let service: Service;
  let gateway: Gateway;
  let browser: Browser;
  let backend: ChildProcess | undefined;
  let backendUrl = '';

  beforeAll(async () => {
    database = await createTestDatabase();
    service = await startService(
      { DATABASE_URL: database.appUrl, FOLLOW_TOKEN_KEYS: '0123456789abcdef0123456789abcdef' },
      { lifetime: 'file' },
    );
    const example = await readFile(path('examples/page/index.html'), 'utf8');
    const passOn = async ({ url = '' }: { url?: string | undefined }) =>
      (await fetch(`${backendUrl}${url}`, { method: 'POST' })).text();
    gateway = await startGateway({
      api: service.url,
      headersOf: () => ({}),
      folders: { client: path('packages/client/dist') },
      pages: {
        '/page': `<!doctype html>${IMPORTS}<body></body>`,
        '/example': example.replace('<script', `${IMPORTS}<script`),
      },
      otherwise: passOn,
    });
    browser = await startChromium();
  }, 300_000);

  afterAll(async () => {
    backend?.kill('SIGKILL');
    await gateway.stop();
    await service.stop();
    await database.drop();
  });

  /** Runs the code as a module of a page, to its end. Fails with what it throws. */
  async function run(code: string): Promise<{ readonly page: Page; readonly said: readonly string[] }> {
    const page = await browser.newPage();
    const said: string[] = [];
    const errors: string[] = [];
    page.on('console', (message) => said.push(message.text()));
    page.on('pageerror', (error) => errors.push(String(error)));
    await page.goto(`${gateway.url}/page`);
    await page.addScriptTag({ type: 'module', content: `${code}\nglobalThis.isOver = true;` });
    await eventually(
      'the block ends',
      async () => errors.length > 0 || (await page.evaluate('globalThis.isOver === true')),
      45_000,
    );
    expect(errors).toEqual([]);
    return { page, said };
  }

  it('have blocks that run to their ends, each in a page of its own', async () => {
    const blocks = (await Promise.all(PAGES.map(blocksOf))).flat();
    expect(blocks.length).toBeGreaterThan(5);
    for (const { name, code } of blocks) {
      const { page, said } = await run(code);
      expect(`${name}: ${said.length > 0}`).toBe(`${name}: true`);
      await page.close();
    }
  }, 240_000);

  it('have ten lines that show a task to its end, and find it after a reload', async () => {
    const page = await browser.newPage();
    await page.goto(`${gateway.url}/example`);
    await page.waitForFunction(`document.title === 'running'`, undefined, { timeout: 20_000 });
    await page.reload();
    await page.waitForFunction(`document.title === 'completed'`, undefined, { timeout: 20_000 });
    expect((await page.locator('pre').textContent())?.split(' ')).toHaveLength(40);
    expect(gateway.requests.filter((line) => line === 'POST /api/v1/tasks').length).toBeGreaterThan(1);
    const { items } = (await (await fetch(`${service.url}/api/v1/tasks?taskType=demo.stream&limit=100`)).json()) as {
      items: { metadata: object }[];
    };
    // The block of the README that streams has made the other one.
    expect(items).toHaveLength(2);
    await page.close();
  }, 60_000);

  it('have a backend that creates, and a page that follows with its tokens', async () => {
    const text = await readFile(path('docs/pages-that-follow.md'), 'utf8');
    const block = (name: string) =>
      new RegExp(`<!-- test: ${name} -->\n\`\`\`js\n(.*?)\`\`\``, 's').exec(text)?.[1] ?? '';
    const [folder, port] = [await temporaryDirectory(), await freePort()];
    await writeFile(join(folder, 'backend.mjs'), block('backend'));
    backendUrl = `http://127.0.0.1:${port}`;
    const env = { PATH: process.env['PATH'], TASKBRIDGE_URL: service.url, PORT: String(port) };
    backend = spawn(process.execPath, [join(folder, 'backend.mjs')], { env, stdio: 'inherit' });
    await eventually('the backend listens', async () => (await fetch(backendUrl)).status === 404);
    const { page, said } = await run(block('page'));
    expect(said.join()).toContain('greeting');
    expect(await page.textContent('body')).toContain('completed 100 %');
    await page.close();
  }, 90_000);

  it('have types that the compiler takes', async () => {
    const text = await readFile(path('packages/client/README.md'), 'utf8');
    const folder = await temporaryDirectory();
    await writeFile(join(folder, 'page.ts'), /```ts\n(.*?)```/s.exec(text)?.[1] ?? 'no block');
    const worker =
      'export const handlers = { summarise: async ({ text }: { text: string }) => ({ words: text.length }) };';
    await writeFile(join(folder, 'worker.ts'), worker);
    const compilerOptions = {
      noEmit: true,
      rootDir: '/',
      noUnusedLocals: false,
      types: [],
      paths: { '@taskbridge/client': [path('packages/client/src/client-api.ts')] },
    };
    const config = { extends: path('packages/client/tsconfig.json'), compilerOptions, include: ['*.ts'] };
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config));
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
    const { stdout } = await promisify(execFile)(path('node_modules/.bin/tsc'), ['-p', folder]).catch(
      (error: { stdout: string }) => error,
    );
    expect(stdout).toBe('');
  }, 60_000);

  it('say what to do about each error', async () => {
    const page = await readFile(path('docs/client-errors.md'), 'utf8');
    const said = [...page.matchAll(/^\| (`[A-Z_, `]+`)/gm)].flatMap(([, codes = '']) => codes.match(/[A-Z_]+/g) ?? []);
    expect(said.filter((code) => code in ERRORS).sort()).toEqual(Object.keys(ERRORS).sort());
  });
});
