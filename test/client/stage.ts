import { fileURLToPath } from 'node:url';
import { Client } from '../support/client.js';
import { freePort } from '../support/free-port.js';
import { startNginx, type TestNginx } from '../support/nginx.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { type Service, startService } from '../support/service.js';

/** The service as it is deployed: PostgreSQL, Redis, and nginx with passwords in front. */
export interface Stage {
  readonly nginx: TestNginx;
  readonly service: Service;
  /** What nginx wants of a user. */
  headersOf(user: string): { readonly Authorization: string };
  backend(user: string): Client;
  /** Another process on the same port, after the one before has ended. */
  restart(): Promise<void>;
  end(): Promise<void>;
}

const SECRET = 'a-secret-of-the-proxy-0123456789';
const USERS = ['alice', 'bob'] as const;

/** A program of the operator that speaks for a user, past nginx. */
class Backend extends Client {
  override get headers(): Record<string, string> {
    return { ...super.headers, 'X-Auth-Proxy-Secret': SECRET };
  }
}

export async function startStage(env: Readonly<Record<string, string>> = {}): Promise<Stage> {
  const [database, redis, port]: [TestDatabase, TestRedis, number] = await Promise.all([
    createTestDatabase(),
    startRedis(),
    freePort(),
  ]);
  const settings = {
    DATABASE_URL: database.appUrl,
    REDIS_URL: redis.url,
    PORT: String(port),
    HOST_MODULE: fileURLToPath(new URL('story-host.mjs', import.meta.url)),
    REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
    AUTH_PROXY_SECRET: SECRET,
    FOLLOW_TOKEN_KEYS: '0123456789abcdef0123456789abcdef',
    STREAMS_PER_PRINCIPAL: '0',
    ...env,
  };
  const start = () => startService(settings, { lifetime: 'file' });
  let service = await start();
  const users = Object.fromEntries(USERS.map((name) => [name, 'password']));
  const nginx = await startNginx({ upstream: service.url, secret: SECRET, users });
  return {
    nginx,
    get service() {
      return service;
    },
    headersOf: (user) => ({ Authorization: `Basic ${Buffer.from(`${user}:password`).toString('base64')}` }),
    backend: (user) => new Backend(service.url, user),
    async restart() {
      await service.exited;
      service = await start();
    },
    async end() {
      await service.stop();
      await database.drop();
    },
  };
}
