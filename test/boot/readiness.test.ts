import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { PostgresProxy } from '../support/postgres-proxy.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { S3_CREDENTIALS, startS3Server } from '../support/s3-server.js';
import { eventually, type Service, startService } from '../support/service.js';
import { TcpBalancer } from '../support/tcp-balancer.js';

describe('Readiness', () => {
  let database: TestDatabase;
  let proxy: PostgresProxy;
  let redis: TestRedis;
  let s3: Awaited<ReturnType<typeof startS3Server>>;
  let toS3: TcpBalancer;
  let service: Service;

  beforeAll(async () => {
    [database, redis, s3] = await Promise.all([createTestDatabase(), startRedis(), startS3Server()]);
    proxy = await PostgresProxy.start(database.appUrl);
    toS3 = await TcpBalancer.start();
    toS3.add(s3.endpoint);
    service = await startService(
      {
        DATABASE_URL: proxy.url,
        REDIS_URL: redis.url,
        ATTACHMENT_STORE: 's3',
        S3_BUCKET: s3.bucket,
        S3_ENDPOINT: toS3.url,
        S3_REGION: s3.region,
        S3_FORCE_PATH_STYLE: 'true',
        ...S3_CREDENTIALS,
      },
      { lifetime: 'file' },
    );
  }, 300_000);

  afterAll(async () => {
    await service.stop();
    await Promise.all([proxy.close(), toS3.close()]);
    await Promise.all([s3.stop(), database.drop()]);
  });

  type Details = Readonly<Record<string, { readonly status: string }>>;
  const ready = async () => {
    const response = await fetch(`${service.url}/ready`);
    const { status, details } = (await response.json()) as { status: string; details: Details };
    expect([response.status, status]).toEqual(response.status === 200 ? [200, 'ready'] : [503, 'not_ready']);
    return {
      isReady: status === 'ready',
      lost: Object.entries(details).flatMap(([name, part]) => (part.status === 'ready' ? [] : [name])),
      names: Object.keys(details),
    };
  };

  it('shows every dependency', async () => {
    const { isReady, names } = await ready();
    expect([isReady, names]).toEqual([true, ['postgres', 'redis', 'executor', 'attachments']]);
  });

  it.each<[string, string[], () => unknown, () => unknown]>([
    ['Redis is stopped', ['redis'], () => redis.kill(), () => redis.restart({ keepData: false })],
    ['Redis does not answer', ['redis'], () => redis.pause(), () => redis.resume()],
    [
      'Redis is read-only',
      ['redis'],
      () => redis.cli('REPLICAOF', '127.0.0.1', '1'),
      () => redis.cli('REPLICAOF', 'NO', 'ONE'),
    ],
    [
      'Redis is out of memory',
      ['redis'],
      () => redis.cli('CONFIG', 'SET', 'maxmemory', '1'),
      () => redis.cli('CONFIG', 'SET', 'maxmemory', '0'),
    ],
    [
      'the store of attachments is gone',
      ['attachments'],
      () => {
        toS3.remove(s3.endpoint);
        toS3.cut();
      },
      () => toS3.add(s3.endpoint),
    ],
    ['PostgreSQL is down', ['postgres', 'executor'], () => proxy.refuse(), () => proxy.accept()],
    ['PostgreSQL does not answer', ['postgres', 'executor'], () => proxy.blackHole(), () => proxy.resume()],
  ])('is lost while %s, by its name, and comes back; liveness stays', async (_, names, strike, heal) => {
    await strike();
    await eventually('it is not ready', async () => !(await ready()).isReady);
    const startedAt = performance.now();
    const health = await fetch(`${service.url}/health`);
    expect([health.status, await health.text()]).toEqual([200, '{"status":"ok"}']);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    await eventually('exactly these are lost', async () => (await ready()).lost.join() === names.join());
    await heal();
    await eventually('it is ready', async () => (await ready()).isReady);
  });

  it('leaves nothing behind in Redis', async () => {
    const keys = (await redis.cli('KEYS', '*')) as string[];
    expect(keys.filter((key) => key.includes('readiness'))).toEqual([]);
  });
});
