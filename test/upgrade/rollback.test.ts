import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import type { Service } from '../support/service.js';
import { WorkerClient } from '../support/worker-client.js';
import { BUILD_MS } from './release-0.1.0.js';
import { Stage } from './stage.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

let stage: Stage;
let service: Service;

beforeAll(async () => {
  stage = await Stage.start();
  await stage.migrate('new');
  service = await stage.replica('new');
}, BUILD_MS);

afterAll(() => stage?.stop());

function run(program: string, args: string[] = [], url = stage.ownerUrl) {
  const env = { PATH: process.env['PATH'], MIGRATION_DATABASE_URL: url, BOOT_WAIT_SECONDS: '0' };
  return new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    const child = execFile(process.execPath, [`dist/${program}.js`, ...args], { cwd: ROOT, env }, (_, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

async function waiting(taskType: string): Promise<string> {
  return (await new Client(service.url).create({ clientRequestId: uniqueId(), taskType })).body.taskId;
}

const update = (taskId: string, set: string) =>
  connected(stage.superuserUrl, (db) =>
    db.query(`UPDATE taskbridge.proj_tasks SET ${set} WHERE task_id = $1`, [taskId]),
  );

describe('npm run rollback', () => {
  it('says that nothing stands in the way', async () => {
    await waiting('rollback.waiting');
    expect(await run('rollback')).toEqual({ code: 0, stdout: 'nothing stands in the way of 0.1.0\n', stderr: '' });
  });

  it('names what blocks, frees what is held, and has nothing to say when all of that is done', async () => {
    const held = await Promise.all([waiting('rollback.held'), waiting('rollback.held')]);
    for (const taskId of held) await update(taskId, "hold_key = 'key:held', claimable_at = NULL");
    const aside = await waiting('rollback.aside');
    await update(aside, "aside_code = 'STATE_INVALID', claimable_at = NULL");
    const delegated = await waiting('rollback.engine');
    await update(
      delegated,
      "executor = 'temporal', engine_token = 'secret', claimable_at = NULL, hold_key = 'key:held'",
    );

    // Several rounds of the reaper, which sets aside what nobody goes on with, and leaves these alone.
    await delay(2_000);
    expect(await run('rollback')).toEqual({
      code: 1,
      stdout: 'freed 2 held tasks\n',
      stderr: [
        `task ${aside}: is set aside (STATE_INVALID): npm run repair -- --task ${aside}\n`,
        `task ${delegated}: runs at the engine temporal: wait for its end, or cancel it\n`,
      ].join(''),
    });
    expect((await run('repair', ['--task', aside])).code).toBe(0);
    await update(delegated, "status = 'CANCELLED', finished_at = clock_timestamp()");
    expect(await run('rollback')).toEqual({ code: 0, stdout: 'nothing stands in the way of 0.1.0\n', stderr: '' });

    await service.stop();
    const old = await stage.replica('old');
    const worker = new WorkerClient(old.url);
    const leases = [
      await worker.lease('rollback.held'),
      await worker.lease('rollback.held'),
      await worker.lease('rollback.aside'),
    ];
    expect(leases.map(({ taskId }) => taskId).sort()).toEqual([...held, aside].sort());
    for (const lease of leases) expect((await worker.complete(lease)).status).toBe(200);
    await old.stop();
  });

  it('refuses in one line', async () => {
    expect(await run('rollback', [], stage.appUrl.replace('taskbridge_app', 'taskbridge_retention'))).toEqual({
      code: 1,
      stdout: '',
      stderr: 'MIGRATION_DATABASE_URL: this role may not change tasks; connect as the owner\n',
    });
    expect(await run('rollback', [], 'postgres://owner:hunter2@127.0.0.1:1/taskbridge')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'MIGRATION_DATABASE_URL: PostgreSQL did not answer within 0 s (ECONNREFUSED)\n',
    });
  });
});
