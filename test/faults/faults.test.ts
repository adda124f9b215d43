import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { runScenario } from './scenario.js';
import { createTestDatabase } from '../support/postgres.js';
import { startRedis, type TestRedis } from '../support/redis.js';

describe('Two replicas behind a balancer', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let redis: TestRedis;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startRedis()]);
  }, 300_000);

  afterAll(async () => {
    await Promise.all([redis.stop(), database.drop()]);
  });

  it('keep every promise while one is killed, Redis restarts and PostgreSQL ends its connections', async () => {
    const said: string[] = [];
    const sizes = { tasks: 9, events: 30, subscribers: 3, kills: 1, seconds: 6, seed: 1 };
    const { report, violations } = await runScenario(sizes, { database, redis, say: (line) => said.push(line) });
    expect({ said, report, violations }).toEqual({ said, report, violations: [] });
    const events = /^ {2}stored +(\d+)/m.exec(report)?.[1];
    expect(Number(events)).toBeGreaterThan(sizes.tasks * sizes.events);
    expect(report).toContain('every promise was kept');
  }, 120_000);
});
