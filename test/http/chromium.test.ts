import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser, BrowserContext, Frame } from 'playwright-core';
import { Client, uniqueId } from '../support/client.js';
import { startChromium } from '../support/chromium.js';
import { type CookieProxy, startCookieProxy } from '../support/cookie-proxy.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Service, startService } from '../support/service.js';

/** Every name is this machine: the service and the pages of one site, and those of another one. */
const SERVICE = 'tasks.example.com';
const ALLOWED = 'app.example.com';
/** A neighbour that was taken over. It is of the same site, so a browser sends the cookies to the service. */
const NEIGHBOUR = 'neighbour.example.com';
const STRANGER = 'elsewhere.example.org';

/** What became of everything that a page can try, in the words of the page. */
interface Tried {
  readonly read: string;
  readonly write: string;
  readonly form: string;
  readonly webSocket: string;
  readonly multiplex: string;
  readonly eventSource: string;
}

const EVERYTHING: Tried = {
  read: '200',
  write: '201',
  form: 'sent',
  webSocket: 'SUBSCRIPTION_CONFIRMED',
  multiplex: 'SUBSCRIPTION_CONFIRMED',
  eventSource: 'TASK_STARTED',
};
const NOTHING: Tried = {
  read: 'refused',
  write: 'refused',
  form: 'sent',
  webSocket: 'refused',
  multiplex: 'refused',
  eventSource: 'refused',
};

describe('In Chromium, a page', () => {
  let database: TestDatabase;
  let service: Service;
  let strict: Service;
  let proxy: CookieProxy;
  let strictProxy: CookieProxy;
  let browser: Browser;
  let context: BrowserContext;

  beforeAll(async () => {
    database = await createTestDatabase();
    const pages = await startCookieProxy('http://127.0.0.1:1');
    const env = {
      DATABASE_URL: database.appUrl,
      ALLOWED_ORIGINS: `http://${ALLOWED}:${pages.port}`,
      REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
    };
    const production = {
      APP_ENV: 'prod',
      HOST: '127.0.0.1',
      REDIS_URL: 'redis://127.0.0.1:1',
      ATTACHMENT_STORE: 'filesystem',
    };
    [service, strict, browser] = await Promise.all([
      startService(env, { lifetime: 'file' }),
      startService({ ...env, ...production, DEMO_TASKS: 'true' }, { lifetime: 'file' }),
      startChromium(),
    ]);
    [proxy, strictProxy] = await Promise.all([startCookieProxy(service.url), startCookieProxy(strict.url)]);
    pagesPort = pages.port;
    context = await browser.newContext();
    stopPages = () => pages.stop();
  }, 300_000);

  let pagesPort: number;
  let stopPages: () => Promise<void>;

  afterAll(async () => {
    await context?.close();
    await Promise.all([proxy, strictProxy].map((one) => one.stop()));
    await stopPages();
    await Promise.all([service.stop(), strict.stop()]);
    await database.drop();
  });

  /** Somebody who is logged in at the service, with one running task, and visits a page. */
  async function visit(address: string, to: CookieProxy, tried: (frame: Frame, visitor: Visitor) => Promise<Tried>) {
    const name = uniqueId('visitor');
    const client = new Client(service.url, name);
    const { taskId } = (
      await client.create({ clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 600_000 } })
    ).body;
    await client.events(taskId, { waitTimeoutMs: '10000' });
    await context.clearCookies();
    await context.addCookies([{ name: 'session', value: name, domain: '.example.com', path: '/', sameSite: 'Lax' }]);
    const page = await context.newPage();
    try {
      await page.goto(address);
      const outcome = await tried(page.mainFrame(), { base: `http://${SERVICE}:${to.port}`, taskId });
      const { items } = (await client.list()).body;
      await client.cancel(taskId);
      return {
        ...outcome,
        made: items
          .map(({ clientRequestId }) => clientRequestId)
          .filter((id) => /^by-/.test(id))
          .sort(),
      };
    } finally {
      await page.close();
    }
  }

  const page = (host: string) => `http://${host}:${pagesPort}/page`;

  describe('can do everything', () => {
    it.each([
      ['on the same host', () => `http://${SERVICE}:${proxy.port}/page`],
      ['of an allowed origin', () => page(ALLOWED)],
    ])('%s, with the cookies of its visitor', async (_which, address) => {
      expect(await visit(address(), proxy, tryAll)).toEqual({ ...EVERYTHING, made: ['by-fetch', 'by-form'] });
    });

    it('on the same host, in production', async () => {
      const address = `http://${SERVICE}:${strictProxy.port}/page`;
      expect(await visit(address, strictProxy, tryAll)).toEqual({ ...EVERYTHING, made: ['by-fetch', 'by-form'] });
    });
  });

  describe('can neither read nor do anything', () => {
    it.each([
      ['of a neighbour, with the cookies of its visitor', () => page(NEIGHBOUR), () => proxy, tryAll],
      ['of the same host on another port, with cookies', () => page(SERVICE), () => proxy, tryAll],
      ['of another site', () => page(STRANGER), () => proxy, tryAll],
      ['of localhost, in production', () => page('localhost'), () => strictProxy, tryAll],
      [
        'without an origin of its own, on the same host',
        () => `http://${SERVICE}:${proxy.port}/page`,
        () => proxy,
        inSandbox,
      ],
    ] as const)('%s', async (_which, address, to, tried) => {
      expect(await visit(address(), to(), tried)).toEqual({ ...NOTHING, made: [] });
    });
  });

  it('of localhost is let in outside of production, without the cookies of another site', async () => {
    // 401 that the page can read, and not a refusal of its origin.
    const outcome = await visit(page('localhost'), proxy, tryAll);
    expect(outcome).toMatchObject({ read: '401', write: '401', webSocket: '4401', multiplex: '4401', made: [] });
  });
});

interface Visitor {
  readonly base: string;
  readonly taskId: string;
}

const SANDBOX = `new Promise((resolve) => {
  const sandbox = document.createElement('iframe');
  sandbox.setAttribute('sandbox', 'allow-scripts allow-forms');
  sandbox.srcdoc = '<!doctype html><title>no origin</title>';
  sandbox.addEventListener('load', () => resolve(), { once: true });
  document.body.append(sandbox);
})`;

async function inSandbox(frame: Frame, visitor: Visitor): Promise<Tried> {
  await frame.evaluate(SANDBOX);
  const sandbox = frame.childFrames()[0] as Frame;
  expect(await sandbox.evaluate('origin')).toBe('null');
  return tryAll(sandbox, visitor);
}

/** Runs in the page. */
function tryAll(frame: Frame, visitor: Visitor): Promise<Tried> {
  return frame.evaluate(async ({ base, taskId }) => {
    const asked = (path: string, init: RequestInit = {}) =>
      fetch(`${base}/api/v1/tasks${path}`, { credentials: 'include', ...init }).then(
        ({ status }) => String(status),
        () => 'refused',
      );
    const write = (clientRequestId: string) => JSON.stringify({ clientRequestId, taskType: 'demo.echo' });
    const form = new FormData();
    form.set('clientRequestId', 'by-form');
    form.set('taskType', 'demo.echo');
    form.set('attachment', new Blob(['text']), 'a.txt');
    const socket = (protocols: string[]) =>
      new Promise<string>((resolve) => {
        const opened = new WebSocket(`${base.replace('http', 'ws')}/api/v1/tasks/ws`, protocols);
        let isOpen = false;
        opened.onopen = () => {
          isOpen = true;
          opened.send(JSON.stringify({ action: 'subscribe', taskId }));
        };
        opened.onmessage = ({ data }) => {
          resolve((JSON.parse(data as string) as { type: string }).type);
          opened.close();
        };
        opened.onclose = ({ code }) => resolve(isOpen ? String(code) : 'refused');
      });
    const events = new Promise<string>((resolve) => {
      const source = new EventSource(`${base}/api/v1/tasks/${taskId}/events/stream`, { withCredentials: true });
      source.onmessage = ({ data }) => {
        resolve((JSON.parse(data as string) as { type: string }).type);
        source.close();
      };
      source.onerror = () => {
        resolve('refused');
        source.close();
      };
    });
    return {
      read: await asked(''),
      write: await asked('', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: write('by-fetch'),
      }),
      // A submitted form sends so: no preflight asks first, and the page does not learn the answer.
      form: await asked('', { method: 'POST', mode: 'no-cors', body: form }).then(() => 'sent'),
      webSocket: await socket([]),
      multiplex: await socket(['taskbridge.multiplex.v1']),
      eventSource: await events,
    };
  }, visitor);
}
