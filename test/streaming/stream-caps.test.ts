import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { followWebSocket } from '../support/follow.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';

const CAP = 2;

describe('The cap on the open streams of a principal', () => {
  let database: TestDatabase;
  let service: Service;
  let open: AbortController[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = { DATABASE_URL: database.appUrl, STREAMS_PER_PRINCIPAL: String(CAP) };
    service = await startService(env, { lifetime: 'file' });
  });

  afterEach(() => {
    for (const stream of open) stream.abort();
    open = [];
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  const runningTask = async (client: Client) => {
    const body = { clientRequestId: uniqueId('request'), taskType: 'demo.sleep', input: { ms: 600_000 } };
    const { taskId } = (await client.create(body)).body;
    await eventually('the task runs', async () => (await client.snapshot(taskId)).body.status === 'RUNNING');
    return taskId;
  };

  /** Each opens a stream that stays open until it is aborted. */
  const TRANSPORTS = {
    sse: async (client: Client, taskId: string, { signal }: AbortController) => {
      const path = `${client.url}/api/v1/tasks/${taskId}/events/stream`;
      const { status } = await fetch(path, { headers: client.headers, signal });
      expect(status).toBe(200);
    },
    'long-poll': (client: Client, taskId: string, { signal }: AbortController) => {
      const path = `${client.url}/api/v1/tasks/${taskId}/events?afterEventId=1&waitTimeoutMs=60000`;
      void fetch(path, { headers: client.headers, signal }).catch(() => undefined);
      return Promise.resolve();
    },
    websocket: async (client: Client, taskId: string, { signal }: AbortController) => {
      const reader = followWebSocket(client.url, taskId, null, client.headers);
      signal.addEventListener('abort', () => reader.close());
      await reader.waitFor(({ events }) => events.length > 0);
    },
  } as const;
  const active = async () => {
    const text = await (await fetch(`${service.url}/metrics`)).text();
    const values = text.split('\n').filter((line) => /streams_active\{/.test(line));
    return values.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  };
  const isActive = (count: number) => eventually(`${count} streams are open`, async () => (await active()) === count);

  it.each(Object.keys(TRANSPORTS) as (keyof typeof TRANSPORTS)[])(
    'made up of %s is said by every transport, and has room again when one is over',
    async (transport) => {
      const client = newPrincipal(service.url);
      const taskId = await runningTask(client);
      await isActive(0);
      for (let i = 0; i < CAP; i += 1) {
        const stream = new AbortController();
        open.push(stream);
        await TRANSPORTS[transport](client, taskId, stream);
      }
      await isActive(CAP);

      const refusals = [
        await client.events(taskId, { afterEventId: '1' }),
        await client.request('GET', `/api/v1/tasks/${taskId}/events/stream`),
      ];
      for (const refusal of refusals) {
        expectError(refusal, 429, 'TOO_MANY_REQUESTS');
        expect(Number(refusal.headers.get('retry-after'))).toBeGreaterThan(0);
      }
      const refused = await followWebSocket(service.url, taskId, null, client.headers).end();
      expect(refused).toMatchObject({ kind: 'close', code: 1013, reason: 'TOO_MANY_REQUESTS' });
      const other = newPrincipal(service.url);
      expectError(await other.events(taskId), 404, 'TASK_NOT_FOUND');

      open.pop()?.abort();
      await isActive(CAP - 1);
      expect(await client.events(taskId)).toMatchObject({ status: 200 });
      for (const stream of open) stream.abort();
      await isActive(0);
    },
  );

  it('leaves an answer that comes at once to a client whose places are taken: with events, or without a wait', async () => {
    const client = newPrincipal(service.url);
    const taskId = await runningTask(client);
    for (let i = 0; i < CAP; i += 1) {
      const stream = new AbortController();
      open.push(stream);
      await TRANSPORTS.sse(client, taskId, stream);
    }
    await isActive(CAP);
    const page = await client.events(taskId);
    expect([page.status, page.body.events.length]).toEqual([200, 1]);
    const empty = await client.events(taskId, { afterEventId: '1', waitTimeoutMs: '0' });
    expect([empty.status, empty.body.events]).toEqual([200, []]);
    const head = await client.request('HEAD', `/api/v1/tasks/${taskId}/events?afterEventId=1`);
    expect([head.status, head.text]).toEqual([200, '']);
    expectError(await client.events(taskId, { afterEventId: '1', waitTimeoutMs: '1' }), 429, 'TOO_MANY_REQUESTS');
    const feed = (query: string) => client.request<{ next: string }>('GET', `/api/v1/tasks/changes?${query}`);
    const begin = await feed('waitTimeoutMs=0');
    expect(begin.status).toBe(200);
    expectError(await feed(`waitTimeoutMs=1000&after=${begin.body.next}`), 429, 'TOO_MANY_REQUESTS');
    await client.create({ clientRequestId: uniqueId(), taskType: 'demo.echo' });
    const changed = await eventually('it changed', async () => {
      const page = await feed(`waitTimeoutMs=0&after=${begin.body.next}`);
      return page.text.includes('demo.echo') && page.text;
    });
    expect(changed).toContain('demo.echo');
  });

  it('is not used up by polls that are held at the end of a task', async () => {
    const client = newPrincipal(service.url);
    const running = await runningTask(client);
    const ended = await runningTask(client);
    await client.cancel(ended);
    const { headEventId } = await eventually('the task is over', async () => {
      const { body } = await client.snapshot(ended);
      return body.status === 'CANCELLED' && body;
    });
    const held = Array.from({ length: CAP + 2 }, () => {
      const stream = new AbortController();
      open.push(stream);
      const query = `afterEventId=${headEventId}&waitTimeoutMs=60000`;
      const path = `${client.url}/api/v1/tasks/${ended}/events?${query}`;
      return fetch(path, { headers: client.headers, signal: stream.signal }).then(
        ({ status }) => `answered ${status}`,
        () => 'left',
      );
    });
    await isActive(CAP + 2);
    for (let i = 0; i < CAP; i += 1) {
      const stream = new AbortController();
      open.push(stream);
      await TRANSPORTS.sse(client, running, stream);
    }
    for (const stream of open) stream.abort();
    expect(await Promise.all(held)).toEqual(Array(CAP + 2).fill('left'));
  });

  it('is not used up by what is refused', async () => {
    const client = newPrincipal(service.url);
    for (let i = 0; i <= CAP; i += 1) {
      expectError(await client.request('GET', '/api/v1/tasks/nothing/events/stream'), 404, 'TASK_NOT_FOUND');
      expectError(await client.events('nothing'), 404, 'TASK_NOT_FOUND');
      await followWebSocket(service.url, 'nothing', null, client.headers).end();
    }
    await isActive(0);
  });
});
