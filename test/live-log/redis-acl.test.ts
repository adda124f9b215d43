import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Certificates, makeCertificates } from '../support/certificates.js';
import { newPrincipal } from '../support/client.js';
import { followSse } from '../support/follow.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { RemoteTask } from '../support/remote-task.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { WITH_WORKERS } from '../support/worker-client.js';

const PASSWORD = 'password-of-the-live-log';
/** Without the live log an event of another replica is found by a comparison each two seconds. */
const AT_ONCE_MS = 500;

const operations = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
const [, documented = ''] = /<!-- test: redis user -->\n```\nACL SETUSER taskbridge (.*)\n```/.exec(operations) ?? [];
const RULES = documented.replace('>…', `>${PASSWORD}`).split(' ');
const COMMANDS = RULES.filter((rule) => rule.startsWith('+'));

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(() => database.drop());

const ready = async (service: Service) => {
  const response = await fetch(`${service.url}/ready`);
  return ((await response.json()) as { details: Record<string, { status: string }> }).details['redis']?.status;
};

/** Every event that one replica stores is seen on the other at once. */
async function expectLive(writer: Service, reader: Service): Promise<void> {
  for (const service of [writer, reader]) {
    await eventually('Redis is ready', async () => (await ready(service)) === 'ready');
  }
  const client = newPrincipal(writer.url);
  const task = await RemoteTask.begin(client);
  const stream = followSse(reader.url, task.taskId, null, client.headers);
  await stream.waitFor(({ events }) => events.length > 0);
  const startedAt = performance.now();
  for (let percent = 1; percent <= 20; percent += 1) {
    const eventId = await task.progress(percent);
    await stream.waitFor(({ events }) => events.at(-1)?.eventId === eventId);
  }
  expect((performance.now() - startedAt) / 20).toBeLessThan(AT_ONCE_MS);
  await task.complete();
  expect((await stream.end()).kind).toBe('end');
}

describe('With the documented user of Redis', () => {
  let redis: TestRedis;
  let writer: Service;
  let reader: Service;

  const setUser = (rules: readonly string[]) => redis.cli('ACL', 'SETUSER', 'taskbridge', 'reset', ...rules);
  const urlOf = (path = '') => `${redis.url.replace('//', `//taskbridge:${PASSWORD}@`)}${path}`;

  beforeAll(async () => {
    redis = await startRedis();
    await setUser(RULES);
    const env = { DATABASE_URL: database.appUrl, REDIS_URL: urlOf() };
    [writer, reader] = await Promise.all([
      startService({ ...env, ...WITH_WORKERS }, { lifetime: 'file' }),
      startService({ ...env, EXECUTOR: 'worker' }, { lifetime: 'file' }),
    ]);
  }, 300_000);

  afterAll(() => Promise.all([writer.stop(), reader.stop()]));

  it('replicas are ready, publish and follow, and print nothing beside their log', async () => {
    expect(COMMANDS).toEqual(['+xadd', '+xread', '+xrevrange']);
    await expectLive(writer, reader);
    expect([writer.stderr(), reader.stderr()]).toEqual(['', '']);
    expect(writer.stdout() + reader.stdout()).not.toContain('live_log.redis_lost');
  });

  it.each([...COMMANDS, '~taskbridge:live:*'])('less %s, it is not ready, and says which', async (rule) => {
    const before = writer.stdout().length;
    await setUser(RULES.filter((one) => one !== rule));
    try {
      const line = await eventually('readiness is lost', async () => {
        await ready(writer);
        return writer
          .stdout()
          .slice(before)
          .split('\n')
          .find((one) => one.includes('readiness.lost'));
      });
      const { probe, err } = JSON.parse(line) as { probe: string; err: { message: string } };
      expect(probe).toBe('redis');
      expect(err.message).toMatch(
        rule.startsWith('+') ? new RegExp(`NOPERM.*\\b${rule.slice(1)}\\b`, 'i') : /NOPERM.*key/,
      );
      expect(await ready(writer)).toBe('not_ready');
    } finally {
      await setUser(RULES);
    }
    await expectLive(writer, reader);
  });

  it('a database other than 0 needs one command more, and is not ready without it', async () => {
    const other = await startService({ DATABASE_URL: database.appUrl, REDIS_URL: urlOf('/1') });
    try {
      expect(await ready(other)).toBe('not_ready');
      expect(other.stdout()).toMatch(/"msg":"(live_log.redis_lost|readiness.lost)"/);
      expect(other.stdout()).toMatch(/NOPERM.*\bselect\b/i);
      await setUser([...RULES, '+select']);
      await eventually('it is ready', async () => (await ready(other)) === 'ready');
    } finally {
      await setUser(RULES);
      await other.stop();
    }
  });

  it('a password that Redis does not ask for has a line in the log, like all others', async () => {
    const open = await startRedis();
    const url = open.url.replace('//', '//:needless@');
    const service = await startService({ DATABASE_URL: database.appUrl, REDIS_URL: url });
    try {
      await eventually('it has a line', () => service.stdout().includes('"msg":"process.warning"'));
      expect(service.stderr()).toBe('');
    } finally {
      await service.stop();
      await open.stop();
    }
  });
});

describe('Over TLS, with a CA of its own', () => {
  let certificates: Certificates;
  let redis: TestRedis;

  beforeAll(async () => {
    certificates = await makeCertificates(await temporaryDirectory());
    redis = await startRedis({ server: certificates.server, ca: certificates.ca });
  });

  const start = (env: Record<string, string>) =>
    startService({ DATABASE_URL: database.appUrl, REDIS_URL: redis.url, ...env, ...WITH_WORKERS });

  it('replicas that know the CA are ready, publish and follow', async () => {
    const known = { NODE_EXTRA_CA_CERTS: certificates.ca };
    const [writer, reader] = await Promise.all([start(known), start(known)]);
    await expectLive(writer, reader).finally(() => Promise.all([writer.stop(), reader.stop()]));
  });

  it('one that does not know it is not ready, and says why', async () => {
    const service = await start({});
    try {
      expect(await ready(service)).toBe('not_ready');
      expect(service.stdout()).toMatch(/readiness\.lost|live_log\.redis_lost/);
      expect(service.stdout()).toMatch(/UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT/);
    } finally {
      await service.stop();
    }
  });
});
