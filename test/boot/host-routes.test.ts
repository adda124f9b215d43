import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { followSse } from '../support/follow.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { runToExit, type Service, startService, temporaryDirectory } from '../support/service.js';

let database: TestDatabase;
let directory: string;

beforeAll(async () => {
  [database, directory] = await Promise.all([createTestDatabase(), temporaryDirectory()]);
});

afterAll(() => database.drop());

/** A host module without a compiler: `marks` are decorators for the one method of its one controller. */
async function hostWith(name: string, marks: string): Promise<string> {
  const path = join(directory, `${name}.mjs`);
  await writeFile(
    path,
    `import { Controller, Get } from '@nestjs/common';
    import { Public, Requires } from 'taskbridge';
    class Acme { route() { return { answered: true }; } }
    Controller('acme')(Acme);
    for (const mark of [Get('route'), ${marks}]) {
      mark(Acme.prototype, 'route', Object.getOwnPropertyDescriptor(Acme.prototype, 'route'));
    }
    export default { module: class Host {}, controllers: [Acme] };`,
  );
  return path;
}

describe.each([
  ['says nothing of itself', '', [401, 200, 200]],
  ['is public', 'Public()', [200, 200, 200]],
  // A caller on this machine that names nobody has every scope of the service, and none of a host.
  ['requires a scope', "Requires('tasks:execute')", [200, 403, 200]],
  ["requires a scope of the host's own", "Requires('acme:orders')", [403, 403, 403]],
] as const)("A host's route that %s", (name, marks, [toNobody, toSomebody, toSomebodyWithScope]) => {
  let service: Service;

  beforeAll(async () => {
    const path = await hostWith(name.replaceAll(/\W/g, '-'), marks);
    // Nobody has to say who they are: such requests act as the system principal.
    service = await startService({ DATABASE_URL: database.appUrl, HOST_MODULE: path }, { lifetime: 'file' });
  });

  const answerTo = (client: Client, headers = {}) => client.request('GET', '/acme/route', { headers });

  it(`answers ${toNobody} where nobody says who is calling`, async () => {
    const answer = await answerTo(new Client(service.url));
    expect(answer.status).toBe(toNobody);
    if (toNobody === 401) {
      const { message } = expectError(answer, 401, 'AUTHENTICATION_ERROR');
      expect(message).toBe('This route needs a caller who says who it is.');
    }
  });

  it(`answers ${toSomebody} to a caller without scopes of its own`, async () => {
    const answer = await answerTo(new Client(service.url, 'ada'));
    expect(answer.status).toBe(toSomebody);
    expect(answer.text).not.toContain('undefined');
  });

  it(`answers ${toSomebodyWithScope} to one with the scope tasks:execute`, async () => {
    const answer = await answerTo(new Client(service.url, 'ada'), { 'X-Principal-Scopes': 'tasks:execute' });
    expect(answer.status).toBe(toSomebodyWithScope);
  });
});

it('A host may be TypeScript as it is, without a compiler, where it has no decorators', async () => {
  const HOST_MODULE = join(directory, 'host.ts');
  const source = `import { TASK_HANDLERS, type TaskHandlers } from 'taskbridge';
    const handlers: TaskHandlers = { 'acme.double': async (input) => ({ doubled: 2 * (input['number'] as number) }) };
    export default { module: class Host {}, providers: [{ provide: TASK_HANDLERS, useValue: handlers }] };`;
  await writeFile(HOST_MODULE, source);
  const service = await startService({ DATABASE_URL: database.appUrl, HOST_MODULE });
  const client = newPrincipal(service.url);
  const task = { clientRequestId: uniqueId(), taskType: 'acme.double', input: { number: 21 } };
  const { taskId } = (await client.create(task)).body;
  await followSse(service.url, taskId, null, client.headers).end();
  expect((await client.snapshot(taskId)).body.result).toEqual({ doubled: 42 });
  await service.stop();
});

it.each(['Requires()', "Requires('')", 'Requires(null)'])('A host whose route has @%s is refused', async (marks) => {
  const HOST_MODULE = await hostWith('nameless', marks);
  const run = await runToExit({ DATABASE_URL: database.appUrl, HOST_MODULE });
  expect([run.code, run.listened, run.stderr.trim()]).toEqual([
    1,
    false,
    'HOST_MODULE: cannot be loaded: @Requires() needs the name of a scope',
  ]);
});
