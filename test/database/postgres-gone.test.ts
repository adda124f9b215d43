import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants } from '../support/fold.js';
import { followSse } from '../support/follow.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { PostgresProxy } from '../support/postgres-proxy.js';
import { eventually, type Service, startService } from '../support/service.js';

/** Many times its connections: most of them wait in line. */
const REQUESTS = 300;
/** A write is refused after two seconds and a bit, and not only when its statement is given up, after seven. */
const REFUSED_WITHIN_MS = 6_000;
/** A crowd has to be sent and answered, too, on a machine that may be busy. */
const CROWD_REFUSED_WITHIN_MS = 12_000;

describe.each<[string, (proxy: PostgresProxy) => unknown, (proxy: PostgresProxy) => unknown]>([
  ['is down', (proxy) => proxy.refuse(), (proxy) => proxy.accept()],
  ['is silent', (proxy) => proxy.blackHole(), (proxy) => proxy.resume()],
])('While PostgreSQL %s', (_, strike, heal) => {
  let database: TestDatabase;
  let proxy: PostgresProxy;
  let service: Service;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    proxy = await PostgresProxy.start(database.appUrl);
    service = await startService({ DATABASE_URL: proxy.url }, { lifetime: 'file' });
    client = newPrincipal(service.url);
  });

  afterAll(async () => {
    await service.stop();
    await proxy.close();
    await database.drop();
  });

  it('writes are refused in time, the process serves, and all goes on afterwards', async () => {
    const create = (taskType: string, input = {}) => client.create({ clientRequestId: uniqueId(), taskType, input });
    const { taskId } = (await create('demo.stream', { chunks: 12, intervalMs: 250 })).body;
    const reader = followSse(service.url, taskId, null, client.headers);
    await reader.waitFor(({ events }) => events.length > 2);

    await strike(proxy);
    const aloneAt = performance.now();
    expect((await create('demo.echo')).status).toBe(503);
    expect(performance.now() - aloneAt).toBeLessThan(REFUSED_WITHIN_MS);
    const answered = Promise.all(
      Array.from({ length: REQUESTS }, async () => {
        const askedAt = performance.now();
        const { status, headers } = await create('demo.echo');
        return { status, retryAfter: headers.get('retry-after'), ms: performance.now() - askedAt };
      }),
    );
    let slowestHealth = 0;
    let over = false;
    void answered.finally(() => {
      over = true;
    });
    while (!over) {
      const askedAt = performance.now();
      expect((await fetch(`${service.url}/health`)).status).toBe(200);
      slowestHealth = Math.max(slowestHealth, performance.now() - askedAt);
      await delay(20);
    }
    const answers = await answered;
    expect(new Set(answers.map(({ status, retryAfter }) => `${status} ${retryAfter}`))).toEqual(new Set(['503 1']));
    expect(Math.max(...answers.map(({ ms }) => ms))).toBeLessThan(CROWD_REFUSED_WITHIN_MS);
    expect(slowestHealth).toBeLessThan(REFUSED_WITHIN_MS / 2);
    // Nor later, when every connection of before is gone.
    const askedAt = performance.now();
    expect((await create('demo.echo')).status).toBe(503);
    expect(performance.now() - askedAt).toBeLessThan(REFUSED_WITHIN_MS);
    const told = (event: string) => service.stdout().split(`"msg":"${event}"`).length - 1;
    await eventually('the reaper has noticed', () => told('reaper.failed') > 0, 10_000);

    await heal(proxy);
    await eventually('a task is accepted', async () => (await create('demo.echo')).status === 201, 10_000);
    await eventually('it is ready', async () => (await fetch(`${service.url}/ready`)).status === 200, 10_000);
    expect((await reader.end(60_000)).kind).toBe('end');
    await eventually(
      'every task that was stored is over',
      async () => (await client.list({ status: 'ACCEPTED' })).body.items.length === 0,
      60_000,
    );
    await checkInvariants(database.superuserUrl, { quiescent: true });
    // Two seconds of work without a fault prove it.
    await eventually('the reaper has recovered', () => told('reaper.recovered') > 0, 10_000);
    // It was tried again and again all the while.
    expect([told('reaper.failed'), told('reaper.recovered')]).toEqual([1, 1]);
  }, 180_000);
});
