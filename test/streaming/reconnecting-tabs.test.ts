import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { startChromium } from '../support/chromium.js';
import { Client, uniqueId } from '../support/client.js';
import { type CookieProxy, startCookieProxy } from '../support/cookie-proxy.js';
import { freePort } from '../support/free-port.js';
import { startNginx, type TestNginx } from '../support/nginx.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';

const NAME = 'alice';
/** A service that drains has its clients come back sooner than this. */
const AWAY_MS = 7_000;

/** In a page: what its stream has seen. */
interface Seen {
  readonly ids: string[];
  types: string[];
  errors: number;
  state?: number;
}

describe('A tab of a browser', () => {
  let database: TestDatabase;
  let browser: Browser;
  let port: number;
  let service: Service;
  let nginx: TestNginx;
  let other: CookieProxy;
  let behindNginx: BrowserContext;
  let behindOther: BrowserContext;
  let lines: string;

  beforeAll(async () => {
    [database, port] = await Promise.all([createTestDatabase(), freePort()]);
    await start();
    const upstream = `http://127.0.0.1:${port}`;
    [nginx, other, browser] = [
      await startNginx({ upstream, secret: 'not-asked-for-0123456789', users: { [NAME]: 'password' } }),
      await startCookieProxy(upstream),
      await startChromium(),
    ];
    behindNginx = await browser.newContext({
      extraHTTPHeaders: { Authorization: `Basic ${Buffer.from(`${NAME}:password`).toString('base64')}` },
    });
    behindOther = await browser.newContext();
    await behindOther.addCookies([{ name: 'session', value: NAME, domain: '127.0.0.1', path: '/' }]);
    const protocol = await readFile(new URL('../../PROTOCOL.md', import.meta.url), 'utf8');
    lines = /```js\n(.*?)```/s.exec(protocol)?.[1] ?? '';
    expect(lines).toContain('EventSource');
  }, 300_000);

  afterAll(async () => {
    await Promise.all([behindNginx, behindOther].map((context) => context?.close()));
    await other.stop();
    await service.stop();
    await database.drop();
  });

  async function start(): Promise<void> {
    service = await startService(
      {
        DATABASE_URL: database.appUrl,
        PORT: String(port),
        REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
        LEASE_SECONDS: '5',
      },
      { lifetime: 'file', deadlineMs: 60_000 },
    );
  }

  const client = () => new Client(service.url, NAME);

  async function created(steps: number): Promise<string> {
    const input = { steps, stepMs: 300 };
    return (await client().create({ clientRequestId: uniqueId(), taskType: 'demo.greet', input })).body.taskId;
  }

  async function opened(context: BrowserContext, address: string, onRequest = () => {}): Promise<Page> {
    const page = await context.newPage();
    page.on('request', onRequest);
    await page.goto(address);
    await page.evaluate('window.seen = { ids: [], types: [], errors: 0 }');
    return page;
  }

  /** Follows with a plain EventSource, as a page does that has read nothing. */
  async function plain(context: BrowserContext, address: string, taskId: string): Promise<Page> {
    const page = await opened(context, address);
    await page.evaluate((path) => {
      const { seen } = globalThis as unknown as { seen: Seen };
      const source = new EventSource(path);
      source.onmessage = ({ data, lastEventId }) => {
        seen.ids.push(lastEventId);
        seen.types.push((JSON.parse(data as string) as { type: string }).type);
      };
      source.onerror = () => {
        seen.errors += 1;
        seen.state = source.readyState;
      };
    }, `/api/v1/tasks/${taskId}/events/stream`);
    return page;
  }

  /** Follows by the lines of PROTOCOL.md. `onRequest` is called for each request of the page, and for the page itself. */
  async function byTheLines(taskId: string, last = '0', onRequest = () => {}): Promise<Page> {
    const page = await opened(behindOther, `http://127.0.0.1:${other.port}/page`, onRequest);
    await page.evaluate(`${lines}
      follow('/api/v1/tasks/${taskId}', ({ eventId, type }) => {
        seen.ids.push(eventId);
        seen.types.push(type);
      }, '${last}');`);
    return page;
  }

  const seenBy = (page: Page) => page.evaluate('seen') as Promise<Seen>;

  async function expectAll(page: Page, taskId: string): Promise<void> {
    await page.waitForFunction("seen.types.at(-1) === 'TASK_COMPLETED'", undefined, { timeout: 90_000 });
    const { headEventId } = (await client().snapshot(taskId)).body;
    expect((await seenBy(page)).ids).toEqual(Array.from({ length: Number(headEventId) }, (_, n) => String(n + 1)));
  }

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'comes back after a restart of the only replica (%s): by itself behind nginx, by the lines of PROTOCOL.md behind another proxy',
    async (signal) => {
      const taskId = await created(24);
      const tabs = await Promise.all([1, 2, 3].map(() => plain(behindNginx, `${nginx.url}/page`, taskId)));
      const byLines = await byTheLines(taskId);
      const dead = await plain(behindOther, `http://127.0.0.1:${other.port}/page`, taskId);
      const all = [...tabs, byLines, dead];
      for (const tab of all) {
        await tab.waitForFunction('seen.ids.length >= 3', undefined, { timeout: 30_000 });
      }
      service.kill(signal);
      await service.exited;
      const before = nginx.log().length;
      await delay(AWAY_MS);
      // Each of them has met the proxy without the service.
      const met =
        nginx
          .log()
          .slice(before)
          .match(/events\/stream HTTP\/1.1" 200/g) ?? [];
      expect(met.length).toBeGreaterThanOrEqual(3);
      await start();

      for (const tab of [...tabs, byLines]) await expectAll(tab, taskId);
      // What PROTOCOL.md says of a browser: one answer that is not 200, and it has given up.
      const { state, types } = await seenBy(dead);
      expect([state, types.includes('TASK_COMPLETED')]).toEqual([2, false]);
      // At the end the 204 stops those that came by themselves.
      for (const tab of tabs) await tab.waitForFunction('seen.state === 2', undefined, { timeout: 30_000 });
      await Promise.all(all.map((tab) => tab.close()));
    },
    240_000,
  );

  // Each waits for questions that must not come, so they wait together.
  it.concurrent.each([
    ['a task that is not there', async () => ({ taskId: '01a20008-c848-7513-9292-28deaa2b6a3f', last: '0' })],
    ['a cursor ahead of the task', async () => ({ taskId: await created(1), last: '4000' })],
    [
      'a task that was over before',
      async () => {
        const taskId = await created(1);
        const ended = async () => (await client().snapshot(taskId)).body.status === 'COMPLETED';
        await eventually('it ends', ended, 30_000);
        return { taskId, last: (await client().snapshot(taskId)).body.headEventId };
      },
    ],
  ])('asks no more, by the lines of PROTOCOL.md, after %s', async (_what, of) => {
    const { taskId, last } = await of();
    let requests = 0;
    const tab = await byTheLines(taskId, last, () => (requests += 1));
    // The page, the stream, and after up to 5 s the question why.
    await eventually('it has asked why', () => requests === 3, 20_000);
    await delay(6_000);
    expect([requests, (await seenBy(tab)).ids]).toEqual([3, []]);
    await tab.close();
  });
});
