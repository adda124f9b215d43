import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { type Fault, faultyHttp } from '../support/faulty-http.js';
import { seededRandom } from '../support/follow.js';
import { checkInvariants, connected, storedEnvelopes } from '../support/fold.js';
import { followWebSocket } from '../support/follow.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { pythonPackage, pythonWithClient } from '../support/python.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { textsOf } from '../support/texts.js';
import { watched, WORKER_ENV, WORKER_TOKEN, type WorkerProcess } from '../support/worker.js';

// What a handler does is in test/execution/handler-contract.test.ts. This is about the worker around it.

const TEXT = 'The quick brown fox. 🦊🏴‍☠️ Příliš žluťoučký kůň. 素早い茶色の狐。 "\\\n\t'.repeat(60);
const LEASE_SECONDS = 2;

interface Event {
  readonly type: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

describe('A worker in Python', () => {
  let database: TestDatabase;
  let service: Service;
  let client: Client;
  let python: string;
  const workers: WorkerProcess[] = [];
  let settings: Record<string, string> = {};

  beforeAll(async () => {
    [database, python] = await Promise.all([createTestDatabase(), pythonWithClient()]);
    settings = {
      DATABASE_URL: database.appUrl,
      DATA_DIR: await temporaryDirectory(),
      ...WORKER_ENV,
      LEASE_SECONDS: String(LEASE_SECONDS),
      CANCEL_GRACE_SECONDS: '20',
    };
    service = await startService(settings, { lifetime: 'file' });
    client = newPrincipal(service.url);
  }, 180_000);

  afterEach(async () => {
    for (const worker of workers) worker.kill('SIGKILL');
    await Promise.all(workers.splice(0).map(({ exited }) => exited));
    await checkInvariants(database.superuserUrl);
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  function work(options: Readonly<Record<string, unknown>> = {}): WorkerProcess {
    const WORKER_OPTIONS = JSON.stringify({ url: service.url, token: WORKER_TOKEN, ...options });
    const env = { PATH: process.env['PATH'], WORKER_OPTIONS };
    const program = join(pythonPackage, 'tests/contract_worker.py');
    const worker = watched(spawn(python, [program], { env, stdio: ['ignore', 'pipe', 'pipe'] }));
    workers.push(worker);
    return worker;
  }

  async function created(taskType: string, input: object = {}): Promise<string> {
    const { status, body } = await client.create({ clientRequestId: uniqueId(), taskType, input: { ...input } });
    expect(status).toBe(201);
    return body.taskId;
  }

  const logOf = async (taskId: string): Promise<Event[]> =>
    (await storedEnvelopes(database.superuserUrl, taskId)).map((raw) => JSON.parse(raw) as Event);

  async function ended(taskId: string, deadlineMs = 30_000): Promise<Event[]> {
    await followWebSocket(client.url, taskId, null, client.headers).end(deadlineMs);
    return logOf(taskId);
  }

  const seen = (taskId: string, type: string, count = 1) =>
    eventually(
      `${count} ${type}`,
      async () => (await logOf(taskId)).filter((event) => event.type === type).length >= count,
    );

  const types = (events: readonly Event[]) => events.map(({ type }) => type);

  it('that is killed goes on at its last step, in another process', async () => {
    const first = work();
    const taskId = await created('python.killed');
    expect(await first.exited).toEqual({ code: null, signal: 'SIGKILL' });
    work();
    const events = await ended(taskId);
    expect(events.at(-1)?.payload).toEqual({ result: [1, 2] });
    expect(textsOf(events)['text']).toBe('first;second 2;');
    expect(events.find(({ type }) => type === 'TASK_RETRYING')?.payload).toMatchObject({
      reason: 'lease_expired',
      supersedesAfterEventId: String(1 + events.findIndex(({ type }) => type === 'TASK_STEP')),
    });
  }, 60_000);

  it.each([
    ['blocks the event loop', 'python.block', { attempt: 1 }],
    ['computes in a thread', 'python.busy', 'done'],
  ])(
    'keeps the lease of a handler that %s',
    async (_what, taskType, result) => {
      work();
      const events = await ended(await created(taskType, { seconds: 3 * LEASE_SECONDS }));
      expect(events.at(-1)).toMatchObject({ type: 'TASK_COMPLETED', payload: { result } });
      expect(types(events)).not.toContain('TASK_RETRYING');
    },
    60_000,
  );

  it('drains on SIGTERM, also while a handler blocks the event loop', async () => {
    const worker = work({ drain_timeout: 1 });
    const ids = [
      await created('both.sleep'),
      await created('python.obeys'),
      await created('both.stubborn', { ms: 8_000 }),
    ];
    for (const taskId of ids) await seen(taskId, 'TASK_MESSAGE');
    const blocking = await created('python.block', { seconds: 4 });
    await seen(blocking, 'TASK_MESSAGE');
    const askedAt = Date.now();
    worker.kill('SIGTERM');
    for (const taskId of [...ids, blocking]) {
      await seen(taskId, 'TASK_RETRYING');
      expect((await logOf(taskId)).at(-1)?.payload['reason']).toBe('released');
    }
    expect(Date.now() - askedAt).toBeLessThan(3_500);
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect(worker.stderr()).toBe('');
    for (const taskId of [...ids, blocking]) await client.cancel(taskId);
  }, 60_000);

  it('has the body of a step tried again when its time is up, and stores nothing of the first try', async () => {
    const worker = work();
    const taskId = await created('python.timeout');
    const events = await ended(taskId);
    expect(events.at(-1)?.payload).toEqual({ result: 2 });
    expect(types(events)).toEqual(['TASK_STARTED', 'TASK_STEP', 'TASK_COMPLETED']);
    expect(worker.stdout()).toContain('problem call_refused');
  });

  it('hears of a cancellation at once', async () => {
    work();
    const taskId = await created('python.obeys');
    await seen(taskId, 'TASK_MESSAGE');
    const askedAt = Date.now();
    await client.cancel(taskId, { reason: 'enough' });
    expect((await ended(taskId)).at(-1)).toMatchObject({ type: 'TASK_CANCELLED', payload: { reason: 'enough' } });
    expect(Date.now() - askedAt).toBeLessThan(1_000);
  });

  it('says which program it is, what it knows, and the policies of its types', async () => {
    work({ version: '1.4.2', worker_id: 'the-python-worker' });
    await ended(await created('python.policy'));
    const row = await eventually('it is registered', () =>
      connected(database.superuserUrl, async (db) => {
        const sql = `SELECT version, features FROM taskbridge.proj_workers WHERE 'python.policy' = ANY (task_types)
          AND version IS NOT NULL`;
        return (await db.query<object>(sql)).rows[0];
      }),
    );
    const features = ['heartbeats', 'leaseSeconds', 'policies', 'signals', 'steps'];
    expect(row).toEqual({ version: '1.4.2', features });
    const scopes = { 'X-Principal-Scopes': 'tasks:admin tasks:read' };
    const policy = await client.request('GET', '/api/v1/task-types/python.policy', { headers: scopes });
    expect(policy.text).toContain('"maxRunning":7');
  });

  it('loses nothing where the network loses requests and answers, and others answer in between', async () => {
    const random = seededRandom(19);
    const kinds: readonly Fault[] = ['lose', 'lose_answer', '503', '429', '502'];
    const happened = new Set<Fault>();
    const network = await faultyHttp(service.url, () => {
      const fault = random() < 0.3 ? (kinds[Math.floor(random() * kinds.length)] ?? 'pass') : 'pass';
      happened.add(fault);
      return fault;
    });
    try {
      work({ url: network.url, lease_seconds: 10 });
      const ids = await Promise.all(
        Array.from({ length: 5 }, () => created('both.stream', { count: 600, seconds: 2, text: TEXT })),
      );
      for (const taskId of ids) {
        const events = await ended(taskId, 45_000);
        expect(textsOf(events)['text']).toBe(TEXT);
        expect(events.at(-1)?.type).toBe('TASK_COMPLETED');
      }
      expect(happened).toEqual(new Set(['pass', ...kinds]));
    } finally {
      await network.close();
    }
  }, 90_000);

  it('goes on within its attempt when the service is killed and started again', async () => {
    const { port } = new URL(service.url);
    const worker = work({ lease_seconds: 20 });
    const taskId = await created('both.stream', { count: 2_000, seconds: 3, text: TEXT });
    await seen(taskId, 'TASK_OUTPUT', 10);
    service.kill('SIGKILL');
    await service.exited;
    service = await startService({ ...settings, PORT: port }, { lifetime: 'file' });
    const events = await ended(taskId);
    expect(textsOf(events)['text']).toBe(TEXT);
    expect(types(events)).not.toContain('TASK_RETRYING');
    expect(worker.stdout()).toContain('problem claim_failed');
  }, 60_000);
});
