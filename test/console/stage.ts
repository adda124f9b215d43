import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from '@jest/globals';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { startChromium } from '../support/chromium.js';
import { Client } from '../support/client.js';
import { type CookieProxy, startCookieProxy } from '../support/cookie-proxy.js';
import { freePort } from '../support/free-port.js';
import { installLocked } from '../support/locked-folder.js';
import { createTestDatabase } from '../support/postgres.js';
import { type Service, startService, temporaryDirectory } from '../support/service.js';

const CONSOLE = fileURLToPath(new URL('../../packages/console/', import.meta.url));
const HOST = fileURLToPath(new URL('host.mjs', import.meta.url));

/** The service with the console, and Chromium before it. */
export interface Stage {
  readonly url: string;
  /** Asks the service past the browser, as the same caller. */
  readonly client: Client;
  /** Where people log in: the cookie `session` names the principal. */
  readonly login: CookieProxy;
  readonly browser: Browser;
  /** A page that shows a screen. It fails the test with what the page complains about. */
  open(path: string, options?: BrowserContextOptions): Promise<Page>;
  /** SIGKILL, and another process on the same port. */
  crash(meanwhile?: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
  end(): Promise<void>;
}

/** Installs and builds `packages/console` as `npm run console` does. */
async function buildConsole(): Promise<void> {
  await installLocked(CONSOLE);
  // Jest's own NODE_ENV would make the development build of React.
  const env = { ...process.env, NODE_ENV: 'production' };
  await promisify(execFile)('npm', ['run', '--silent', 'build'], { cwd: CONSOLE, env });
}

export async function startStage(env: Readonly<Record<string, string>> = {}): Promise<Stage> {
  await buildConsole();
  const [database, port, browser] = await Promise.all([createTestDatabase(), freePort(), startChromium()]);
  const settings = {
    DATABASE_URL: database.appUrl,
    DATA_DIR: await temporaryDirectory(),
    HOST_MODULE: HOST,
    PORT: String(port),
    LEASE_SECONDS: '4',
    ...env,
  };
  const start = () => startService(settings, { lifetime: 'file' });
  let service: Service = await start();
  const login = await startCookieProxy(service.url);
  const contexts: BrowserContext[] = [];
  const complaints: string[] = [];
  return {
    url: service.url,
    client: new Client(service.url),
    login,
    browser,
    async open(path, options = {}) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
      contexts.push(context);
      const page = await context.newPage();
      page.on('pageerror', (error) => complaints.push(error.message));
      // Answers of 4xx are what some tests are about, and those of a service that is away of others.
      page.on('console', (line) => {
        if (line.type() === 'error' && !/Failed to load resource|WebSocket connection/.test(line.text()))
          complaints.push(line.text());
      });
      await page.goto(options.baseURL ? path : `${service.url}${path}`);
      return page;
    },
    async crash(meanwhile = () => Promise.resolve()) {
      service.kill('SIGKILL');
      await service.exited;
      await meanwhile();
      service = await start();
    },
    async close() {
      await Promise.all(contexts.splice(0).map((context) => context.close()));
      expect(complaints.splice(0)).toEqual([]);
    },
    async end() {
      await login.stop();
      await service.stop();
      await database.drop();
    },
  };
}

let axe: string | undefined;

/** What axe-core finds wrong with the page as it is. */
export async function violationsOf(page: Page): Promise<readonly string[]> {
  axe ??= await readFile(`${CONSOLE}node_modules/axe-core/axe.min.js`, 'utf8');
  await page.evaluate(axe);
  const found = await page.evaluate(`axe.run(document, { resultTypes: ['violations'] })`);
  const { violations } = found as {
    violations: readonly { id: string; nodes: readonly { html: string; failureSummary: string }[] }[];
  };
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 300)}\n${failureSummary}`),
  );
}
