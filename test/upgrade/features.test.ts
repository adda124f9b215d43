import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { FEATURE_NAMES } from '#protocol/features.js';
import { VERSION } from '../../src/build.js';
import { Client, expectError } from '../support/client.js';
import { connected } from '../support/fold.js';
import { eventually, type Service } from '../support/service.js';
import { WORKER_TOKEN } from '../support/worker-client.js';
import { BUILD_MS } from './release-0.1.0.js';
import { Stage } from './stage.js';

/** A replica writes its row, and reads those of others, so often. */
const ROUND_MS = 5_000;
/** What is dead leaves the list within this time. */
const DEAD_MS = 15_000;
const ALL = { version: VERSION, features: FEATURE_NAMES };
const NONE = { version: VERSION, features: [] };

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.start();
  await stage.migrate('new');
}, BUILD_MS);

afterAll(() => stage?.stop());

const asked = async ({ url }: Service) => (await new Client(url, 'owner').request<object>('GET', '/api/v1')).body;

/** Resolves with the time that it took, when the replica answers this. */
async function answers(service: Service, expected: object, withinMs: number): Promise<number> {
  const since = performance.now();
  await eventually(
    `it answers ${JSON.stringify(expected)}`,
    async () => JSON.stringify(await asked(service)) === JSON.stringify(expected),
    withinMs,
  );
  return performance.now() - since;
}

/** A replica of a release between 0.1.0 and this one, as far as others see it. */
async function otherRelease(features: readonly string[]): Promise<void> {
  await connected(stage.superuserUrl, (db) =>
    db.query('INSERT INTO taskbridge.proj_replicas (replica_id, build, features) VALUES (gen_random_uuid(), $1, $2)', [
      '0.1.9',
      features,
    ]),
  );
}

const rows = () =>
  connected(stage.superuserUrl, async (db) => {
    const { rows } = await db.query<{ build: string }>('SELECT build FROM taskbridge.proj_replicas ORDER BY build');
    return rows.map(({ build }) => build);
  });

describe('GET /api/v1 and GET /worker/v1', () => {
  it('name what this build knows, to callers who may read and to workers', async () => {
    const service = await stage.replica('new', { REQUIRE_AUTHENTICATED_PRINCIPAL: 'true' });
    expect(FEATURE_NAMES.length).toBeGreaterThan(0);
    expect(await asked(service)).toEqual(ALL);
    const authorization = { headers: { Authorization: `Bearer ${WORKER_TOKEN}` } };
    expect((await new Client(service.url).request('GET', '/worker/v1', authorization)).body).toEqual(ALL);

    expectError(await new Client(service.url).request('GET', '/api/v1'), 401, 'AUTHENTICATION_ERROR');
    expectError(await new Client(service.url, 'owner').request('GET', '/worker/v1'), 401, 'AUTHENTICATION_ERROR');
    const writer = new Client(service.url, 'owner').request('GET', '/api/v1', {
      headers: { 'X-Principal-Scopes': 'tasks:write' },
    });
    expectError(await writer, 403, 'ACCESS_DENIED');
    expectError(await new Client(service.url, 'owner').request('GET', '/api/v1?all=1'), 400, 'INVALID_REQUEST');
    await service.stop();
  });

  it('name no feature while a replica of 0.1.0 lives, and all of them when it is drained or killed', async () => {
    const first = await stage.replica('old');
    const service = await stage.replica('new');
    expect(await asked(service)).toEqual(NONE);
    await first.stop();
    await answers(service, ALL, DEAD_MS);
    const second = await stage.replica('old');
    await answers(service, NONE, DEAD_MS);
    second.kill('SIGKILL');
    await answers(service, ALL, DEAD_MS);
    await service.stop();
  });

  it('name what all releases know that live', async () => {
    await otherRelease([...FEATURE_NAMES.slice(1), 'somethingElse']);
    const service = await stage.replica('new');
    expect(await asked(service)).toEqual({ version: VERSION, features: FEATURE_NAMES.slice(1) });
    // Nobody writes its row any more.
    expect(await answers(service, ALL, DEAD_MS)).toBeLessThan(DEAD_MS);
    await service.stop();
  });

  it('wait for a release that shows itself by its sessions alone', async () => {
    const service = await stage.replica('new');
    const starting = `${stage.appUrl}&application_name=taskbridge%2F9.9.9`;
    await connected(starting, async (db) => {
      await db.query('SELECT 1');
      await answers(service, NONE, 2 * ROUND_MS);
    });
    await answers(service, ALL, 2 * ROUND_MS);
    await service.stop();
  });

  it('ask PostgreSQL nothing', async () => {
    const service = await stage.replica('new');
    const calls = () =>
      connected(stage.superuserUrl, async (db) => {
        const { rows } = await db.query<{ n: string }>(
          'SELECT xact_commit AS n FROM pg_stat_database WHERE datname = current_database()',
        );
        return Number(rows[0]?.n);
      });
    const before = await calls();
    for (let n = 0; n < 2_000; n += 1) await asked(service);
    await delay(1_000);
    expect((await calls()) - before).toBeLessThan(500);
    await service.stop();
  });
});

describe('the row of a replica', () => {
  it('is written before the first request, again every 5 s, and goes with a drain', async () => {
    await connected(stage.superuserUrl, (db) => db.query('DELETE FROM taskbridge.proj_replicas'));
    const service = await stage.replica('new');
    expect(await rows()).toEqual([VERSION]);
    await connected(stage.superuserUrl, async (db) => {
      const seen = async () =>
        (await db.query<{ at: string }>('SELECT seen_at::text AS at FROM taskbridge.proj_replicas')).rows[0]?.at;
      const first = await seen();
      await eventually('it is written again', async () => (await seen()) !== first, 2 * ROUND_MS);
    });
    await service.stop();
    expect(await rows()).toEqual([]);
  });
});

describe('sessions of PostgreSQL', () => {
  it('have the name of the build, and the name that the URL adds', async () => {
    const url = `${stage.appUrl}&application_name=billing`;
    const service = await stage.replica('new', { DATABASE_URL: url });
    const { rows } = await connected(stage.superuserUrl, (db) =>
      db.query("SELECT DISTINCT application_name FROM pg_stat_activity WHERE usename = 'taskbridge_app'"),
    );
    expect(rows).toEqual([{ application_name: `taskbridge/${VERSION} billing` }]);
    expect(await asked(service)).toEqual(ALL);
    await service.stop();
  });
});
