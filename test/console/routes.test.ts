import { cp, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startRedis } from '../support/redis.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Service, startService, temporaryDirectory } from '../support/service.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const HTML = { Accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };

let database: TestDatabase;
let service: Service;

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startService(
    { DATABASE_URL: database.appUrl, DATA_DIR: await temporaryDirectory(), REQUIRE_AUTHENTICATED_PRINCIPAL: 'true' },
    { lifetime: 'file', build: await folderWithoutConsole() },
  );
}, 120_000);

afterAll(async () => {
  await service.stop();
  await database.drop();
});

/** The build of this checkout, in a folder where nobody has built the console. */
async function folderWithoutConsole(): Promise<string> {
  const folder = await temporaryDirectory();
  await mkdir(join(folder, 'packages'));
  await cp(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
  for (const name of ['node_modules', 'package.json', 'migrations', 'packages/protocol', 'packages/handler'])
    await symlink(join(root, name), join(folder, name));
  return folder;
}

const asAlice = { 'X-Principal-Id': 'alice' };

describe('The console', () => {
  it('says how it is built where it is not', async () => {
    const answer = await fetch(`${service.url}/console/tasks/some-task?x=1`, { headers: { ...HTML, ...asAlice } });
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    expect(await answer.text()).toContain('Run <code>npm run console</code>');
  });

  it('allows no script or style but its own files, and no frame', async () => {
    const { headers } = await fetch(`${service.url}/console`, { headers: asAlice });
    const policy = headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self';");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|data:|\*/);
  });

  it('is behind the authentication of the API', async () => {
    for (const path of ['/console', '/console/', '/console/tasks', '/console/assets/index.js', '/console/mark.svg']) {
      const answer = await fetch(service.url + path, { headers: HTML });
      expect(await answer.json()).toMatchObject({ code: 'AUTHENTICATION_ERROR' });
      expect(answer.status).toBe(401);
    }
  });

  it('is where the address of the service leads a browser, and no program', async () => {
    const browser = await fetch(service.url, { headers: HTML, redirect: 'manual' });
    expect([browser.status, browser.headers.get('location')]).toEqual([302, '/console/']);
    for (const headers of [{}, { Accept: '*/*' }, { Accept: 'application/json' }])
      expect((await fetch(service.url, { headers, redirect: 'manual' })).status).toBe(404);
  });

  it.each([
    '/console/assets/nothing.js',
    '/console/assets/..%2f..%2f..%2fpackage.json',
    '/console/assets/%2e%2e/%2e%2e/package.json',
  ])('has no file %s', async (path) => {
    const answer = await fetch(service.url + path, { headers: asAlice });
    expect(await answer.json()).toMatchObject({ code: 'NOT_FOUND' });
    expect(answer.status).toBe(404);
  });

  it.each([
    ['off, where CONSOLE says so', { CONSOLE: 'false' }, 404, 404],
    ['off in production', {}, 404, 404],
    ['on in production where CONSOLE says so, without a way from /', { CONSOLE: 'true' }, 200, 404],
  ] as const)('is %s', async (name, env, page, home) => {
    const production = name.includes('production') && {
      APP_ENV: 'production',
      REDIS_URL: (await startRedis()).url,
      REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
    };
    const settings = { DATABASE_URL: database.appUrl, DATA_DIR: await temporaryDirectory(), HOST: '127.0.0.1' };
    const other = await startService({ ...settings, ...production, ...env });
    expect((await fetch(`${other.url}/console`, { headers: { ...HTML, ...asAlice } })).status).toBe(page);
    expect((await fetch(other.url, { headers: HTML, redirect: 'manual' })).status).toBe(home);
    await other.stop();
  });
});
