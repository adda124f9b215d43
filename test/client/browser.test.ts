import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { startChromium } from '../support/chromium.js';
import { uniqueId } from '../support/client.js';
import { eventually } from '../support/service.js';
import { type Gateway, startGateway } from './gateway.js';
import { type Stage, startStage } from './stage.js';

const CLIENT = fileURLToPath(new URL('../../packages/client/dist', import.meta.url));
const PAGE = `<!doctype html><title>page</title>
<script type="importmap">{"imports":{"@taskbridge/client":"/client/client/src/client-api.js"}}</script>`;

/** Nearly as many as a task may have. */
const BURST = process.env['FULL'] ? 99_000 : 19_900;

let stage: Stage;
let gateway: Gateway;
let browser: Browser;
let minted = 0;
const contexts: BrowserContext[] = [];

beforeAll(async () => {
  stage = await startStage({ LEASE_SECONDS: '4' });
  gateway = await startGateway({
    api: stage.nginx.url,
    headersOf: stage.headersOf,
    folders: { client: CLIENT },
    pages: {
      '/page': PAGE,
      '/other': '<!doctype html><title>other</title>',
      // The backend of the page: it alone has credentials.
      '/token': async ({ url = '' }) => {
        const taskId = url.split('?')[1];
        minted += 1;
        const answer = await backend().post<{ token: string }>('/api/v1/follow-tokens', {
          taskId,
          may: ['read'],
          seconds: 3,
        });
        return answer.body.token;
      },
    },
  });
  browser = await startChromium({ backForwardCache: true });
}, 300_000);

afterEach(async () => {
  await Promise.all(contexts.splice(0).map((context) => context.close()));
});

afterAll(async () => {
  await gateway.stop();
  await stage.end();
});

/** Reads what is stored. */
const backend = () => stage.backend('alice');

async function context(user?: string): Promise<BrowserContext> {
  const made = await browser.newContext();
  contexts.push(made);
  if (user) await logIn(made, user);
  return made;
}

const logIn = (made: BrowserContext, user: string) =>
  made.addCookies([{ name: 'user', value: user, url: gateway.url }]);

/** A page with the global `client`, and `followed`, which has what it saw by task. */
async function tab(made: BrowserContext, options = '{}'): Promise<Page> {
  const page = await made.newPage();
  await page.goto(`${gateway.url}/page`);
  await begin(page, options);
  return page;
}

const begin = (page: Page, options = '{}') =>
  page.evaluate(`import('@taskbridge/client').then(({ createClient }) => {
    globalThis.client = createClient(${options});
    globalThis.seen = {};
    globalThis.follow = (id, task = client.task(id)) => {
      const seen = (globalThis.seen[id] = { ids: [], status: '', text: '' });
      (async () => { for await (const event of task.events()) seen.ids.push(event.eventId); })();
      const show = () => Object.assign(seen, task.state.get());
      task.state.subscribe(show);
      show();
    };
  })`);

interface Seen {
  readonly ids: readonly string[];
  readonly status: string;
  readonly text: string;
}

const seenBy = (page: Page, id: string) => page.evaluate(`globalThis.seen['${id}']`) as Promise<Seen>;
const follow = (page: Page, id: string) => page.evaluate(`follow('${id}')`);

async function created(steps: number, stepMs = 200): Promise<string> {
  const input = { steps, stepMs };
  const { body } = await backend().create({ clientRequestId: uniqueId(), taskType: 'demo.greet', input });
  return body.taskId;
}

/** Waits until the page has the whole log, and has each event once. */
async function expectAll(page: Page, id: string, deadlineMs = 60_000): Promise<void> {
  await eventually('the page sees the end', async () => (await seenBy(page, id)).status === 'completed', deadlineMs);
  const { headEventId } = (await backend().snapshot(id)).body;
  const all = Array.from({ length: Number(headEventId) }, (_, n) => String(n + 1));
  await eventually('the page has the last event', async () => (await seenBy(page, id)).ids.at(-1) === headEventId);
  expect((await seenBy(page, id)).ids).toEqual(all);
}

/** Stops the page as a browser freezes a tab: no timer and no message of it runs. Chromium itself freezes hidden pages only. Returns the thaw. */
async function frozen(page: Page): Promise<() => Promise<void>> {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Debugger.enable');
  await cdp.send('Debugger.pause');
  return async () => {
    await cdp.send('Debugger.resume');
    await cdp.send('Debugger.disable');
  };
}

const SHARED = `{ shareTabs: 'alice' }`;

describe('Tabs of one user that share', () => {
  it.each(['closes', 'crashes', 'freezes'] as const)(
    'hold one connection, and lose nothing when the leader %s',
    async (how) => {
      const [made, id] = [await context('alice'), await created(60)];
      const tabs: Page[] = [];
      for (let n = 0; n < 10; n += 1) {
        tabs.push(await tab(made, SHARED));
        await follow(tabs[n] as Page, id);
      }
      await eventually('all see events', async () => {
        const seen = await Promise.all(tabs.map((page) => seenBy(page, id)));
        return seen.every(({ ids }) => ids.length >= 3);
      });
      expect(gateway.open('alice')).toBe(1);
      const [leader, ...others] = tabs as [Page, ...Page[]];
      let thaw: (() => Promise<void>) | undefined;
      if (how === 'closes') await leader.close();
      else if (how === 'crashes') void (await made.newCDPSession(leader)).send('Page.crash').catch(() => {});
      else thaw = await frozen(leader);
      for (const page of others) await expectAll(page, id);
      if (thaw) {
        await thaw();
        await expectAll(leader, id);
      }
      await eventually('one connection, or none', () => gateway.open('alice') <= 1, 15_000);
    },
    120_000,
  );

  it('obey one leader: a leader that was frozen asks before it sends', async () => {
    const [made, id] = [await context('alice'), await created(100)];
    const leader = await made.newPage();
    await leader.goto(`${gateway.url}/page`);
    // It hears of the others after its timers, so it has to find out by its clock that it was silent.
    await leader.evaluate(`globalThis.BroadcastChannel = class extends BroadcastChannel {
      set onmessage(handler) { super.onmessage = (event) => setTimeout(() => handler(event), 100); }
    }`);
    await begin(leader, SHARED);
    await follow(leader, id);
    await eventually('it leads', async () => (await seenBy(leader, id)).ids.length >= 3);
    const spy = await made.newPage();
    await spy.goto(`${gateway.url}/page`);
    await spy.evaluate(`globalThis.said = [];
      globalThis.channel = new BroadcastChannel('taskbridge:/api/v1:alice');
      channel.onmessage = ({ data }) => said.push([data.from, data.say]);`);
    const said = async (from: number) => (await spy.evaluate(`said.slice(${from})`)) as readonly [string, string][];
    const [[first] = []] = await eventually('it beats', async () => {
      const beats = (await said(0)).filter(([, say]) => say === 'lead');
      return beats.length > 0 && beats;
    });
    const other = await tab(made, SHARED);
    await follow(other, id);
    await eventually('both see events', async () => (await seenBy(other, id)).ids.length >= 3);
    const thaw = await frozen(leader);
    await eventually('the other leads', async () =>
      (await said(0)).some(([from, say]) => from !== first && say === 'lead'),
    );
    const before = (await said(0)).length;
    await thaw();
    await expectAll(leader, id);
    await expectAll(other, id);
    const own = (await said(before)).filter(([from]) => from === first).map(([, say]) => say);
    expect(own[0]).toBe('hello');
    expect(own.filter((say) => say === 'lead' || say === 'frame')).toEqual([]);
  }, 120_000);

  it('share the feed, too: each sees every question, also after the leader has closed', async () => {
    const made = await context('alice');
    const tabs: Page[] = [];
    for (let n = 0; n < 3; n += 1) {
      const page = await tab(made, SHARED);
      await page.evaluate('globalThis.leave = client.questions.subscribe(() => {})');
      tabs.push(page);
    }
    const asks = async () => {
      const body = { clientRequestId: uniqueId(), taskType: 'demo.approval' };
      return (await backend().create(body)).body.taskId;
    };
    const ids = (page: Page) =>
      page.evaluate('client.questions.get().map(({ taskId }) => taskId)') as Promise<string[]>;
    const allSee = (id: string) =>
      eventually('each tab sees the question', async () =>
        (await Promise.all(tabs.map(ids))).every((seen) => seen.includes(id)),
      );
    const first = await asks();
    await allSee(first);
    expect(gateway.open('alice')).toBe(1);
    await tabs.shift()?.close();
    const second = await asks();
    await allSee(second);
    await tabs[0]?.evaluate(`client.questions.get().find(({ taskId }) => taskId === '${first}').answer('approve')`);
    await eventually('it is gone from all', async () =>
      (await Promise.all(tabs.map(ids))).every((seen) => !seen.includes(first) && seen.includes(second)),
    );
    expect(gateway.open('alice')).toBe(1);
  }, 60_000);

  it('share nothing with tabs of another user', async () => {
    const made = await context('alice');
    const [hers, id] = [await tab(made, SHARED), await created(40)];
    await follow(hers, id);
    await eventually('she sees events', async () => (await seenBy(hers, id)).ids.length >= 2);
    // The next one of this browser has logged in as another.
    await logIn(made, 'bob');
    const his = await tab(made, `{ shareTabs: 'bob' }`);
    await follow(his, id);
    await eventually('he may not see it', async () => (await seenBy(his, id)).status === 'unreachable');
    expect(await seenBy(his, id)).toMatchObject({ ids: [], error: expect.anything() });
    await expectAll(hers, id);
    expect((await seenBy(his, id)).ids).toEqual([]);
  }, 60_000);
});

describe('A page', () => {
  it('that is reloaded in the middle creates nothing twice, and finds its task', async () => {
    const page = await (await context('alice')).newPage();
    await page.goto(`${gateway.url}/page`);
    const start = async () => {
      await begin(page, '{ store: sessionStorage }');
      return page.evaluate(`(async () => {
        const task = client.create('demo.greet', { name: 'reload', steps: 20, stepMs: 200 });
        const id = await task.created();
        follow(id, task);
        return id;
      })()`) as Promise<string>;
    };
    const id = await start();
    await eventually('it sees events', async () => (await seenBy(page, id)).ids.length >= 3);
    await page.reload();
    expect(await start()).toBe(id);
    await expectAll(page, id);
    // Its end was seen: the same again is another task.
    await page.reload();
    expect(await start()).not.toBe(id);
  }, 60_000);

  it('whose token expires asks for another one before each connect, and goes on', async () => {
    const id = await created(50);
    const page = await tab(await context(), `{ token: () => fetch('/token?${id}').then((answer) => answer.text()) }`);
    const before = minted;
    await follow(page, id);
    await expectAll(page, id);
    expect(minted - before).toBeGreaterThan(2);
  }, 60_000);

  it(`paints a task of ${BURST} events by its snapshot, below half a second at the median of 5`, async () => {
    const made = await context('alice');
    const { body } = await backend().create({
      clientRequestId: uniqueId(),
      taskType: 'burst',
      input: { events: BURST },
    });
    await eventually(
      'it ends',
      async () => (await backend().snapshot(body.taskId)).body.status === 'COMPLETED',
      120_000,
    );
    const runs = [];
    const asked = gateway.requests.length;
    for (let n = 0; n < 5; n += 1) {
      const page = await tab(made);
      runs.push(
        (await page.evaluate(`(async () => {
          const long = [];
          new PerformanceObserver((list) => long.push(...list.getEntries())).observe({ entryTypes: ['longtask'] });
          const startedAt = performance.now();
          const task = client.task('${body.taskId}');
          await new Promise((resolve) => {
            const show = () => { document.title = task.state.get().status; if (document.title === 'completed') resolve(); };
            task.state.subscribe(show);
          });
          await new Promise(requestAnimationFrame);
          return { ms: performance.now() - startedAt, long: long.length };
        })()`)) as { ms: number; long: number },
      );
      await page.close();
    }
    const median = runs.map(({ ms }) => ms).sort((a, b) => a - b)[2] ?? Infinity;
    console.log(`a task of ${BURST} events is painted after ${Math.round(median)} ms`, runs);
    expect(median).toBeLessThan(500);
    // By its snapshot alone: nobody reads the log.
    expect(gateway.requests.slice(asked).filter((line) => !line.includes('?include=output'))).toEqual([]);
    expect(runs.map(({ long }) => long).sort((a, b) => a - b)[2]).toBe(0);
  }, 240_000);

  it('keeps its memory while 19 000 events pass live, and has few long tasks', async () => {
    const page = await tab(await context('alice'));
    const run = (await page.evaluate(`(async () => {
      const long = [];
      new PerformanceObserver((list) => long.push(...list.getEntries())).observe({ entryTypes: ['longtask'] });
      let painted = 0;
      const task = client.create('burst', { events: 19000 });
      task.state.subscribe(() => { painted += 1; document.title = String(task.state.get().eventId); });
      let events = 0;
      for await (const event of task.events()) events += 1;
      return { events, painted, long: long.length, heap: performance.memory.usedJSHeapSize };
    })()`)) as { events: number; painted: number; long: number; heap: number };
    console.log('live', run);
    expect(run.events).toBeGreaterThan(15_000);
    // A frame is painted once, whatever comes in it.
    expect(run.painted).toBeLessThan(run.events / 4);
    // Each frame of the WebSocket is a task of its own.
    expect(run.long).toBeLessThan(run.events / 100);
    expect(run.heap).toBeLessThan(40 * 1024 * 1024);
  }, 120_000);

  it('whose WebSockets are blocked goes on by SSE, and comes back to WebSockets when the network changes', async () => {
    const page = await tab(
      await context('alice'),
      `{ WebSocket: class extends WebSocket {
        constructor(...given) { if (!globalThis.isFree) throw new Error('blocked'); super(...given); }
      } }`,
    );
    const id = await created(40);
    await follow(page, id);
    const transport = () => page.evaluate('client.connection.get().transport');
    await eventually('it sees events', async () => (await seenBy(page, id)).ids.length >= 3);
    expect(await transport()).toBe('sse');
    await page.evaluate(`globalThis.isFree = true; dispatchEvent(new Event('online'))`);
    await eventually('it is back', async () => (await transport()) === 'websocket');
    await expectAll(page, id);
  }, 60_000);

  it('goes on when its network was away', async () => {
    const made = await context('alice');
    const [page, id] = [await tab(made), await created(40)];
    await follow(page, id);
    await eventually('it sees events', async () => (await seenBy(page, id)).ids.length >= 3);
    await made.setOffline(true);
    gateway.cut();
    const isAway = async () => /waiting|connecting/.test(await page.evaluate('client.connection.get().status'));
    await eventually('it says that it is cut', isAway);
    // Cut is not ended.
    expect((await seenBy(page, id)).status).toBe('running');
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await made.setOffline(false);
    await expectAll(page, id);
  }, 60_000);

  it('whose machine slept comes back at once, over a connection that died without a word', async () => {
    const [page, id] = [await tab(await context('alice')), await created(60)];
    await follow(page, id);
    await eventually('it sees events', async () => (await seenBy(page, id)).ids.length >= 3);
    gateway.silence();
    const before = (await seenBy(page, id)).ids.length;
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const silent = (await seenBy(page, id)).ids.length;
    // What was on its way may have come.
    expect(silent - before).toBeLessThan(5);
    // A machine that slept for a minute: its clock has gone on, and the page is in front again.
    const wokenAt = Date.now();
    await page.evaluate(`{ const { now } = Date; Date.now = () => now() + 60_000; }
      document.dispatchEvent(new Event('visibilitychange'))`);
    await eventually('it goes on', async () => (await seenBy(page, id)).ids.length > silent + 5);
    expect(Date.now() - wokenAt).toBeLessThan(3_000);
    await expectAll(page, id);
    // The browser still waits for an answer on the silent one.
    gateway.cut();
  }, 60_000);

  it('that goes into the back and forward cache lets go of its connection, and goes on when it is back', async () => {
    const [page, id] = [await tab(await context('alice')), await created(40)];
    await follow(page, id);
    await eventually('it sees events', async () => (await seenBy(page, id)).ids.length >= 3);
    await page.evaluate(`addEventListener('pageshow', ({ persisted }) => (globalThis.wasKept = persisted))`);
    await page.goto(`${gateway.url}/other`);
    await eventually('the connection is gone', () => gateway.open('alice') === 0);
    await page.goBack({ waitUntil: 'commit' });
    expect(await page.evaluate('globalThis.wasKept')).toBe(true);
    await expectAll(page, id);
  }, 60_000);

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'goes on when the only server behind nginx restarts (%s)',
    async (signal) => {
      const [made, id] = [await context('alice'), await created(30)];
      const tabs = [
        await tab(made),
        await tab(made, `{ transports: ['sse'] }`),
        await tab(made, `{ transports: ['poll'] }`),
      ];
      for (const page of tabs) await follow(page, id);
      for (const page of tabs) {
        await eventually('it sees events', async () => (await seenBy(page, id)).ids.length >= 3);
      }
      stage.service.kill(signal);
      await stage.restart();
      for (const page of tabs) await expectAll(page, id, 90_000);
    },
    180_000,
  );
});
