import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { startRedis, type TestRedis } from '../support/redis.js';
import { RedisProxy, type RedisTrip } from '../support/redis-proxy.js';

const named = (name: string) => (trip: RedisTrip) => trip.name === name;

describe('The stepping proxy in front of Redis', () => {
  let redis: TestRedis;
  let proxy: RedisProxy;
  const clients: Redis[] = [];

  beforeAll(async () => {
    redis = await startRedis();
  }, 300_000);

  beforeEach(async () => {
    await redis.cli('FLUSHALL');
    proxy = await RedisProxy.start(redis.url);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.disconnect();
    await proxy.close();
  });

  afterAll(() => redis.stop());

  const connect = async () => {
    const options = { lazyConnect: true, protocol: 2, retryStrategy: null, disconnectTimeout: 50 } as const;
    const client = new Redis(proxy.url, { ...options, enableReadyCheck: false, maxRetriesPerRequest: 0 });
    client.on('error', () => {});
    clients.push(client);
    await client.connect();
    return client;
  };

  it('passes commands and replies of every kind through unchanged', async () => {
    const client = await connect();
    const big = `ä\r\n$1\r\n${'x'.repeat(200_000)}`;
    await client.set('key', big);
    expect(await client.get('key')).toBe(big);
    expect(await client.get('none')).toBeNull();
    await expect(client.incr('key')).rejects.toThrow('not an integer');
    await client.xadd('stream', '1-1', 'a', 'b');
    expect(await client.xread('STREAMS', 'stream', '0-0')).toEqual([['stream', [['1-1', ['a', 'b']]]]]);
    expect(await client.xread('BLOCK', 10, 'STREAMS', 'stream', '1-1')).toBeNull();
  });

  it('counts one round trip a command, also in a pipeline, with its arguments', async () => {
    const client = await connect();
    await client.pipeline().set('one', '1').set('two', '2').exec();
    const trips = proxy.trips.filter(named('SET'));
    expect(trips.map(({ args }) => args)).toEqual([
      ['one', '1'],
      ['two', '2'],
    ]);
  });

  it('drops the k-th matching request, and what was sent behind it', async () => {
    const client = await connect();
    const cut = proxy.before(2, { matches: named('INCR') });
    await expect(client.pipeline().incr('n').incr('n').incr('n').exec()).resolves.toEqual([
      [null, 1],
      [expect.any(Error), undefined],
      [expect.any(Error), undefined],
    ]);
    await cut;
    expect(await redis.cli('GET', 'n')).toBe('1');
    expect(proxy.count(named('INCR'))).toBe(2);
  });

  it('drops the reply to a request that was applied', async () => {
    const client = await connect();
    const cut = proxy.after(1, { matches: named('INCR') });
    await expect(client.incr('n')).rejects.toThrow();
    await cut;
    expect(await redis.cli('GET', 'n')).toBe('1');
  });

  it('delays what matches, and nobody else', async () => {
    const [slow, quick] = [await connect(), await connect()];
    proxy.delay(300, ({ args }) => args.includes('slow'));
    const order: string[] = [];
    await Promise.all([
      slow.get('slow').then(() => order.push('slow')),
      quick.get('quick').then(() => order.push('quick')),
    ]);
    expect(order).toEqual(['quick', 'slow']);
  });

  it('holds one request until it is released', async () => {
    const client = await connect();
    const hold = proxy.hold(named('INCR'));
    const increased = client.incr('n');
    await hold.held;
    expect(await redis.cli('GET', 'n')).toBeNull();
    hold.release();
    expect(await increased).toBe(1);
  });

  it('stops for an act at round trip k, such as the kill of a service', async () => {
    const client = await connect();
    const seen: unknown[] = [];
    const act = async () => seen.push(await redis.cli('GET', 'n'));
    void proxy.after(2, { matches: named('INCR'), act });
    await client.incr('n');
    await expect(client.incr('n')).rejects.toThrow();
    expect(seen).toEqual(['2']);
  });
});
