import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import type { EventPage } from '../support/client.js';
import { seededRandom } from '../support/follow.js';
import { type ChaosSizes, type ChaosVerdict, ORDERS } from './chaos-sizes.js';
import { followStory, type Witnessed } from './follow-story.js';
import { HostileProxy } from './hostile-proxy.js';
import { judgeStory } from './judge-story.js';

const built = fileURLToPath(new URL('../../packages/client/dist', import.meta.url));
const PAGE = `<!doctype html><title>chaos</title>
<script type="importmap">{"imports":{"@taskbridge/client":"/client/src/client-api.js"}}</script>`;

interface Left {
  readonly timers: number;
  readonly sockets: number;
  readonly requests: number;
}

/** Runs stories in pages. */
export async function chaosInChromium(
  browser: Browser,
  sizes: ChaosSizes,
  say: (verdict: ChaosVerdict) => void = () => {},
): Promise<readonly ChaosVerdict[]> {
  const pages = createServer((request, response) => {
    response.setHeader('Connection', 'close');
    if (request.url === '/page') return void response.setHeader('Content-Type', 'text/html').end(PAGE);
    readFile(join(built, normalize(request.url ?? '/'))).then(
      (bytes) => response.setHeader('Content-Type', 'text/javascript').end(bytes),
      () => response.writeHead(404).end(),
    );
  }).listen(0, '127.0.0.1');
  await once(pages, 'listening');
  const verdicts: ChaosVerdict[] = [];
  try {
    let next = 0;
    const lane = async () => {
      for (let run = next++; run < sizes.runs; run = next++) {
        const verdict = await runPage(browser, sizes, run, (pages.address() as AddressInfo).port);
        verdicts.push(verdict);
        say(verdict);
      }
    };
    await Promise.all(Array.from({ length: sizes.atATime }, lane));
  } finally {
    pages.close();
    pages.closeAllConnections();
  }
  return verdicts;
}

async function runPage(browser: Browser, sizes: ChaosSizes, run: number, pagesPort: number): Promise<ChaosVerdict> {
  const random = seededRandom(sizes.seed + run);
  const transports = ORDERS[run % ORDERS.length] ?? ['poll'];
  const proxy = await HostileProxy.start({ targetPort: sizes.port, random, faults: 3 + 6 * random(), pagesPort });
  const context = await browser.newContext({ extraHTTPHeaders: sizes.headers });
  const requestId = `page-${sizes.seed}-${run}`;
  const startedAt = Date.now();
  const wrong: string[] = [];
  try {
    const page = await context.newPage();
    await page.goto(`${proxy.url}/page`);
    const { seen, left } = (await page.evaluate(
      `(${inPage})(${followStory}, ${JSON.stringify(transports)}, '${requestId}')`,
    )) as {
      seen: Witnessed;
      left: Left;
    };
    const direct = async <T>(path: string) =>
      (await (await fetch(`http://127.0.0.1:${sizes.port}/api/v1${path}`, { headers: sizes.headers })).json()) as T;
    const { events } = await direct<EventPage>(`/tasks/${seen.taskId}/events?maxEvents=500&waitTimeoutMs=0`);
    const { items } = await direct<{ items: unknown[] }>(`/tasks?clientRequestId=${requestId}`);
    wrong.push(...judgeStory(seen, events, items.length));
    if (left.timers + left.sockets + left.requests > 0) wrong.push(`left open: ${JSON.stringify(left)}`);
  } catch (error) {
    wrong.push(String(error));
  } finally {
    await context.close();
    await proxy.close();
  }
  const faults = proxy.happened.join(' ');
  return { run, transports: transports.join(), ms: Date.now() - startedAt, faults, wrong };
}

/** Runs in the page. Counts what is open before the client is loaded, so that it sees the same. */
async function inPage(follow: typeof followStory, transports: readonly string[], requestId: string) {
  const timers = new Set<number>();
  const sockets = new Set<WebSocket>();
  let requests = 0;
  const page = window;
  const { setTimeout: set, clearTimeout: clear, fetch: ask, WebSocket: Socket } = page;
  page.setTimeout = ((call: () => void, ms?: number) => {
    const timer: number = set(() => {
      timers.delete(timer);
      call();
    }, ms);
    timers.add(timer);
    return timer;
  }) as typeof setTimeout;
  page.clearTimeout = (timer) => {
    timers.delete(timer as number);
    clear(timer);
  };
  page.fetch = async (...given) => {
    requests += 1;
    try {
      return await ask(...given);
    } finally {
      requests -= 1;
    }
  };
  page.WebSocket = class extends Socket {
    constructor(...given: ConstructorParameters<typeof Socket>) {
      super(...given);
      sockets.add(this);
      this.addEventListener('close', () => sockets.delete(this));
    }
  };
  const name = '@taskbridge/client';
  const { createClient } = (await import(name)) as typeof import('../../packages/client/src/client-api.js');
  const client = createClient({ transports: transports as never });
  const seen = await follow(client, requestId);
  client.close();
  await new Promise((resolve) => set(resolve, 500));
  // One whose close was called is open no more. In a network that swallows its last frame, Chromium waits for the answer for a minute.
  const open = [...sockets].filter(({ readyState }) => readyState < Socket.CLOSING);
  return { seen, left: { timers: timers.size, sockets: open.length, requests } };
}
