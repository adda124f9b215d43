import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { Client, uniqueId } from '../support/client.js';
import { startChromium } from '../support/chromium.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Service, startService } from '../support/service.js';

/** Every name is this machine: the service, and the application of which a page is shown. */
const SERVICE = 'tasks.example.com';
const APPLICATION = 'app.example.com';

/** Lives longer than a connection, so a stream comes back with the same token before it needs another one. */
const TOKEN_SECONDS = 4;
const STREAM_SECONDS = 2;
const STEPS = 60;

interface Followed {
  readonly events: readonly string[];
  readonly connections: number;
  readonly renewals: number;
}

/**
 * The visitor of an application has credentials for its backend alone. The backend creates tasks, and its page follows them with the
 * tokens that the backend mints.
 */
describe('In Chromium, a page without credentials for the service', () => {
  let database: TestDatabase;
  let service: Service;
  let browser: Browser;
  let application: Server;
  let origin: string;
  let minted = 0;

  beforeAll(async () => {
    database = await createTestDatabase();
    application = createServer((request, response) => {
      if (request.url === '/page') return void response.setHeader('Content-Type', 'text/html').end('<!doctype html>');
      void text(request).then(async (taskId) => {
        const body = { taskId, may: ['read'], seconds: TOKEN_SECONDS };
        const answer = await backend.post<{ token: string }>('/api/v1/follow-tokens', body);
        minted += 1;
        response.setHeader('Cache-Control', 'no-store').end(answer.body.token);
      });
    });
    application.listen(0, '127.0.0.1');
    await once(application, 'listening');
    origin = `http://${APPLICATION}:${(application.address() as AddressInfo).port}`;
    [service, browser] = await Promise.all([
      startService(
        {
          DATABASE_URL: database.appUrl,
          ALLOWED_ORIGINS: origin,
          REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
          FOLLOW_TOKEN_KEYS: '0123456789abcdef0123456789abcdef',
          STREAM_MAX_SECONDS: String(STREAM_SECONDS),
        },
        { lifetime: 'file' },
      ),
      startChromium(),
    ]);
    backend = new Client(service.url, 'backend');
  }, 300_000);

  let backend: Client;

  afterAll(async () => {
    application.close();
    application.closeAllConnections();
    await service.stop();
    await database.drop();
  });

  it.each(['webSocket', 'multiplex', 'eventSource'] as const)(
    'follows a task by %s to its end, through reconnects and the ends of its tokens',
    async (transport) => {
      const input = { steps: STEPS, stepMs: 150 };
      const created = await backend.create({ clientRequestId: uniqueId(), taskType: 'demo.greet', input });
      const { taskId } = created.body;
      const before = minted;
      const page = await browser.newPage();
      await page.goto(`${origin}/page`);
      const base = `http://${SERVICE}:${new URL(service.url).port}/api/v1/tasks`;
      const { events, connections } = await page.evaluate<Followed, [string, string, string]>(follow, [
        transport,
        base,
        taskId,
      ]);
      await page.close();
      const log = await backend.events(taskId, { maxEvents: '500', waitTimeoutMs: '0' });
      expect(log.body.terminal).toBe(true);
      expect(events.map((raw) => JSON.parse(raw) as unknown)).toEqual(log.body.events);
      expect(minted - before).toBeGreaterThan(1);
      expect(connections).toBeGreaterThan(2);
    },
    60_000,
  );
});

/** Runs in the page. */
async function follow([transport, base, taskId]: [string, string, string]): Promise<Followed> {
  const events: string[] = [];
  let connections = 0;
  let renewals = 0;
  const token = () => fetch('/token', { method: 'POST', body: taskId }).then((answer) => answer.text());
  const last = () => (JSON.parse(events.at(-1) ?? '{"eventId":"0"}') as { eventId: string }).eventId;
  const isOver = () => events.length > 0 && /"type":"TASK_COMPLETED"/.test(events.at(-1) ?? '');
  const isEvent = (raw: string) => /"eventId":"\d+"/.test(raw);

  const bySocket = async (mode: string) => {
    let shown = await token();
    while (!isOver()) {
      const socket = new WebSocket(`${base.replace('http', 'ws')}/ws`, [mode, `taskbridge.token.${shown}`]);
      socket.onopen = () => {
        connections += 1;
        socket.send(JSON.stringify({ action: 'subscribe', taskId, lastEventId: last() }));
      };
      socket.onmessage = async ({ data }: { readonly data: string }) => {
        if (isEvent(data)) events.push(data);
        if (isOver()) socket.close();
        if (!data.includes('"AUTH_EXPIRING"')) return;
        shown = await token();
        renewals += 1;
        if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ action: 'authenticate', token: shown }));
      };
      const { code } = await new Promise<CloseEvent>((resolve) => (socket.onclose = resolve));
      if (code === 4401) shown = await token();
      else if (code > 4400) throw new Error(`closed with ${code}`);
    }
  };
  const byEventSource = async () => {
    while (!isOver()) {
      const source = new EventSource(`${base}/${taskId}/events/stream?token=${await token()}&lastEventId=${last()}`);
      source.onopen = () => (connections += 1);
      source.onmessage = ({ data }: { readonly data: string }) => {
        events.push(data);
        if (isOver()) source.close();
      };
      // It comes back by itself, until its token has ended.
      await new Promise<void>((resolve) => {
        const look = setInterval(() => {
          if (source.readyState !== EventSource.CLOSED) return;
          clearInterval(look);
          resolve();
        }, 20);
      });
    }
  };
  if (transport === 'eventSource') await byEventSource();
  else await bySocket(transport === 'webSocket' ? 'taskbridge.v1' : 'taskbridge.multiplex.v1');
  return { events, connections, renewals };
}
