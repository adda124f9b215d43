import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { migrateTo, OUR_DIST } from '../support/builds.js';
import { Client, type Snapshot } from '../support/client.js';
import { rawElements, transports } from '../support/follow.js';
import { findViolations } from '../support/fold.js';
import { startTestCluster, type TestCluster } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';
import { watched } from '../support/worker.js';
import { WITH_WORKERS, WORKER_TOKEN } from '../support/worker-client.js';
import { HOST_MODULE } from './installation.js';
import { type Repeat, requestOf, restore, type Told, type ToldTask, told, unpackedWorkerSdk } from './release-0.1.0.js';

/** What goes on by itself as soon as a replica runs, because its time is over. */
const MOVES: readonly string[] = [
  'inline, unfinished',
  'leased, silent',
  'leased',
  'cancel requested',
  'suspended, expires soon',
];

let cluster: TestCluster;
let service: Service;
let before: Told;

beforeAll(async () => {
  before = await told();
  cluster = await startTestCluster();
  await cluster.createDatabase('installation');
  const DATA_DIR = await restore(cluster.ownerUrl('installation'));
  await migrateTo(OUR_DIST, cluster.ownerUrl('installation'));
  service = await startService(
    { ...WITH_WORKERS, DATABASE_URL: cluster.appUrl('installation'), DATA_DIR, HOST_MODULE },
    { lifetime: 'file' },
  );
});

afterAll(async () => {
  await service?.stop();
  await cluster?.stop();
});

function task(name: string): ToldTask {
  const found = before.tasks.find((one) => one.name === name);
  if (!found) throw new Error(`the installation has no task: ${name}`);
  return found;
}

const get = ({ taskId, headers }: ToldTask, rest = '') =>
  new Client(service.url).request<Snapshot>('GET', `/api/v1/tasks/${taskId}${rest}`, { headers });

async function replay(of: ToldTask): Promise<readonly string[]> {
  const { text } = await get(of, '/events?maxEvents=500&waitTimeoutMs=0');
  return rawElements(text, 'events');
}

/** Of the events that came after those that 0.1.0 told, once the task is over. */
async function after(of: ToldTask): Promise<readonly { type: string; payload: Record<string, unknown> }[]> {
  const ended = await eventually(`${of.name} is over`, async () => {
    const page = await get(of, '/events?maxEvents=500&waitTimeoutMs=0');
    return (page.body as unknown as { terminal: boolean }).terminal && page.text;
  });
  const events = rawElements(ended, 'events');
  expect(events.slice(0, of.events.length)).toEqual(of.events);
  return events.slice(of.events.length).map((raw) => JSON.parse(raw));
}

describe('an installation of 0.1.0, migrated', () => {
  it('has every task as it was', async () => {
    for (const one of before.tasks) {
      const { status, body } = await get(one);
      const { progress, ...was } = JSON.parse(one.snapshot) as Snapshot;
      expect({ name: one.name, status }).toEqual({ name: one.name, status: 200 });
      if (MOVES.includes(one.name)) continue;
      expect({ name: one.name, ...body }).toMatchObject({ name: one.name, ...was });
      // With 0.1.0 the last progress of a completed task stayed.
      expect(body.progress).toBe(was.status === 'COMPLETED' ? 100 : progress);
    }
  });

  it.each(Object.entries(transports))('replays by %s, byte for byte, what 0.1.0 told', async (_name, follow) => {
    for (const one of before.tasks) {
      const reader = follow(service.url, one.taskId, undefined, one.headers);
      await reader.waitFor(({ events }) => events.length >= one.events.length);
      reader.close();
      expect(reader.events.slice(0, one.events.length).map(({ raw }) => raw)).toEqual(one.events);
    }
  });

  it('has the bytes of its attachments', async () => {
    for (const one of [task('accepted, with files'), task('completed, with files')]) {
      const { attachments } = JSON.parse(one.snapshot) as { attachments: { attachmentId: string; sha256: string }[] };
      expect(attachments).toHaveLength(2);
      for (const { attachmentId, sha256 } of attachments) {
        const response = await fetch(`${service.url}/api/v1/tasks/${one.taskId}/attachments/${attachmentId}`, one);
        const bytes = Buffer.from(await response.arrayBuffer());
        expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256);
      }
    }
  });

  it('answers every request that 0.1.0 answered once more as 0.1.0 did, and does nothing', async () => {
    for (const { what, path, status, answer, ...request } of before.repeats) {
      const response = await fetch(service.url + path, requestOf(request));
      const text = await response.text();
      // A task that went on meanwhile has another status.
      const [now, then] = [text, answer].map((body) =>
        path.endsWith('/tasks') ? body.replace(/"status":"[A-Z]+"/, '') : body,
      );
      // The tasks of two requests to cancel were not over, or are over now: 202 either way.
      if (what === 'cancel') expect(response.status).toBe(202);
      else expect({ what, status: response.status, now }).toEqual({ what, status, now: then });
    }
    for (const one of before.tasks.filter(({ name }) => !MOVES.includes(name)))
      expect(await replay(one)).toEqual(one.events);
  });

  it('refuses what differs from a request that 0.1.0 took', async () => {
    const { path, headers, body } = before.repeats.find(({ what }) => what === 'create: accepted') as Repeat;
    const other = { ...(JSON.parse(body as string) as object), input: { text: 'another' } };
    const { status, text } = await new Client(service.url).post(path, other, headers);
    expect({ status, text }).toEqual({ status: 409, text: expect.stringContaining('IDEMPOTENCY_CONFLICT') });
  });

  it('ends what is overdue', async () => {
    expect(await after(task('suspended, expires soon'))).toMatchObject([
      { type: 'TASK_FAILED', payload: { code: 'SUSPENSION_EXPIRED' } },
    ]);
    expect(await after(task('cancel requested'))).toMatchObject([
      { type: 'TASK_CANCELLED', payload: { reason: 'too slow' } },
    ]);
  });

  it('takes up the attempts whose process is gone, in the service', async () => {
    expect(await after(task('inline, unfinished'))).toMatchObject([
      { type: 'TASK_RETRYING', payload: { attempt: 2, reason: 'lease_expired' } },
      { type: 'TASK_OUTPUT' },
      { type: 'TASK_COMPLETED', payload: { result: { attempt: 2 } } },
    ]);
  });

  it('goes on with workers of 0.1.0: leases that ran out, files, open questions', async () => {
    const waiting = [
      'leased',
      'leased, silent',
      'released',
      'accepted',
      'accepted, with files',
      'suspended',
      'answered, not yet taken up',
    ];
    const taskTypes = waiting.map((name) => (JSON.parse(task(name).snapshot) as Snapshot).taskType);
    const options = { module: await unpackedWorkerSdk(), url: service.url, token: WORKER_TOKEN, taskTypes };
    const program = fileURLToPath(new URL('sdk-process.mjs', import.meta.url));
    const worker = watched(spawn(process.execPath, [program, JSON.stringify(options)]));

    const answer = { clientActionId: 'after-the-upgrade', suspendId: 'publish', actionType: 'reject' };
    const { taskId, headers } = task('suspended');
    const client = new Client(service.url);
    expect((await client.post(`/api/v1/tasks/${taskId}/actions`, answer, headers)).status).toBe(202);
    expect((await client.post(`/api/v1/tasks/${taskId}/actions`, answer, headers)).body).toMatchObject({
      status: 'DEDUPLICATED',
    });

    for (const [name, attempt] of [
      ['leased', 2],
      ['leased, silent', 2],
      ['released', 2],
      ['accepted', 1],
      ['suspended', 1],
      ['answered, not yet taken up', 1],
    ] as const) {
      expect((await after(task(name))).at(-1)).toMatchObject({
        type: 'TASK_COMPLETED',
        payload: { result: { attempt } },
      });
    }
    const bytes = (JSON.parse(task('accepted, with files').snapshot) as { attachments: { sizeBytes: number }[] })
      .attachments;
    const total = bytes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    expect((await after(task('accepted, with files'))).at(-1)).toMatchObject({ payload: { result: { bytes: total } } });
    worker.kill('SIGTERM');
    expect(await worker.exited).toEqual({ code: 0, signal: null });
  });

  it('keeps every guarantee', async () => {
    expect(await findViolations(cluster.superuserUrl('installation'))).toEqual([]);
  });
});
