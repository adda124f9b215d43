import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, newPrincipal, uniqueId } from '../support/client.js';
import { followLongPoll, followSse, followWebSocket } from '../support/follow.js';
import { file, field, formOf } from '../support/form.js';
import { MultiplexClient } from '../support/multiplex-client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { PostgresProxy } from '../support/postgres-proxy.js';
import { RemoteTask } from '../support/remote-task.js';
import { type Service, startService, temporaryDirectory } from '../support/service.js';
import { output, WITH_WORKERS } from '../support/worker-client.js';

const NO_TASK = '01900000-0000-7000-8000-000000000000';
const PAIRS = process.env['FULL'] === '1' ? 400 : 60;
const large = { text: 'x'.repeat(900_000) };

interface Asked {
  readonly statements: readonly string[];
  /** Bytes of PostgreSQL's answers. */
  readonly bytes: number;
}

let database: TestDatabase;
let proxy: PostgresProxy;
let service: Service;
let owner: Client;
let stranger: Client;
let tasks: Readonly<Record<'small' | 'large' | 'busy' | 'finished', { taskId: string; attachmentId: string }>>;

/** A task of the owner with a file; `attachmentId` is the file's. */
async function withFile(taskType: string, input: object): Promise<{ taskId: string; attachmentId: string }> {
  const parts = [
    field('clientRequestId', uniqueId()),
    field('taskType', taskType),
    field('input', JSON.stringify(input)),
  ];
  const form = formOf([...parts, file('a.txt', 'the bytes')]);
  const { taskId } = (await owner.request<{ taskId: string }>('POST', '/api/v1/tasks', form)).body;
  const { attachments } = (await owner.snapshot(taskId)).body as unknown as { attachments: { attachmentId: string }[] };
  return { taskId, attachmentId: attachments[0]?.attachmentId ?? '' };
}

beforeAll(async () => {
  database = await createTestDatabase();
  proxy = await PostgresProxy.start(database.appUrl);
  // Only the looks into the queue run unasked.
  const env = { DATABASE_URL: proxy.url, DATA_DIR: await temporaryDirectory(), ...WITH_WORKERS };
  service = await startService(env, { lifetime: 'file' });
  [owner, stranger] = [newPrincipal(service.url), newPrincipal(service.url)];
  const busy = await RemoteTask.begin(owner);
  for (let n = 0; n < 5; n += 1)
    await busy.append(...Array.from({ length: 4 }, () => output('x'.repeat(50_000), uniqueId())));
  const finished = await withFile('demo.echo', large);
  await followSse(service.url, finished.taskId, null, owner.headers).end();
  tasks = {
    small: await withFile('nobody.takes.it', {}),
    large: await withFile('nobody.takes.it', large),
    busy: { taskId: busy.taskId, attachmentId: NO_TASK },
    finished,
  };
}, 60_000);

afterAll(async () => {
  await service.stop();
  await proxy.close();
  await database.drop();
});

/** Every way to name a task, as a stranger. Each resolves to the stranger's answer. */
const WAYS: Readonly<Record<string, (taskId: string, attachmentId: string) => Promise<unknown>>> = {
  read: async (taskId) => (await stranger.snapshot(taskId)).status,
  'read, with a version': async (taskId) => (await stranger.snapshot(taskId, { 'If-None-Match': '*' })).status,
  'a page of events': async (taskId) => (await stranger.events(taskId)).status,
  'a page of events, with a cursor': async (taskId) => (await stranger.events(taskId, { afterEventId: '999' })).status,
  'a page that is waited for': (taskId) => followLongPoll(service.url, taskId, null, stranger.headers).end(),
  stream: (taskId) => followSse(service.url, taskId, null, stranger.headers).end(),
  'a stream, with a cursor': (taskId) => followSse(service.url, taskId, '999', stranger.headers).end(),
  WebSocket: (taskId) => followWebSocket(service.url, taskId, null, stranger.headers).end(),
  'WebSocket, multiplex': async (taskId) => {
    const client = await MultiplexClient.open(service.url, stranger.headers);
    client.subscribe(taskId);
    const { type } = await client.frame(() => true);
    client.leave();
    return type;
  },
  download: async (taskId, attachmentId) => {
    const path = `/api/v1/tasks/${taskId}/attachments/${attachmentId}`;
    return (await stranger.request('GET', path)).status;
  },
  'a range of a download': async (taskId, attachmentId) => {
    const path = `/api/v1/tasks/${taskId}/attachments/${attachmentId}`;
    return (await stranger.request('GET', path, { headers: { Range: 'bytes=100-' } })).status;
  },
  cancel: async (taskId) => (await stranger.cancel(taskId)).status,
  action: async (taskId) => {
    const action = { clientActionId: 'a', suspendId: 's', actionType: 'approve' };
    return (await stranger.act(taskId, action)).status;
  },
  'an action that is malformed': async (taskId) =>
    (await stranger.post(`/api/v1/tasks/${taskId}/actions`, { clientActionId: 'a' })).status,
  'a cancel that is malformed': async (taskId) => (await stranger.cancel(taskId, { reason: 1 })).status,
};

/** The statements of one request at PostgreSQL. The service's own queries name other tasks, or none. */
async function cost(taskId: string, ask: () => Promise<unknown>): Promise<Asked & { readonly answer: unknown }> {
  const before = proxy.trips.length;
  const answer = await ask();
  const trips = proxy.trips.slice(before).filter(({ parameters }) => parameters.includes(taskId));
  return {
    answer: JSON.stringify(answer).replaceAll(/(timestamp|correlationId)\\":\\"[^"]+"/g, '$1'),
    statements: trips.map(({ sql }) => sql),
    bytes: trips.reduce((sum, trip) => sum + trip.answeredBytes, 0),
  };
}

describe.each(Object.keys(WAYS))('A stranger who names a task (%s)', (way) => {
  const ask = WAYS[way] as (typeof WAYS)[string];

  it('costs the same statements and bytes, whether there is one, and whatever it holds', async () => {
    const missing = await cost(NO_TASK, () => ask(NO_TASK, NO_TASK));
    for (const [name, { taskId, attachmentId }] of Object.entries(tasks)) {
      const foreign = { name, ...(await cost(taskId, () => ask(taskId, attachmentId))) };
      expect([foreign.name, foreign.answer]).toEqual([foreign.name, missing.answer]);
      expect([foreign.name, foreign.statements]).toEqual([foreign.name, missing.statements]);
      // The row with the owner and the state may be there or not.
      expect(Math.abs(foreign.bytes - missing.bytes)).toBeLessThan(300);
    }
  });
});

it('the owner is read the rest, so that the test would see it', async () => {
  const { taskId } = tasks.large;
  const read = await cost(taskId, () => owner.snapshot(taskId));
  // Whose it is, the snapshot, and what it waits for.
  expect(read.statements).toHaveLength(3);
  expect(read.bytes).toBeGreaterThan(900_000);
});

/** Said, not judged: a busy machine takes its time. */
it(`times ${PAIRS} pairs of a missing and a large foreign task`, async () => {
  const direct = await startService({ DATABASE_URL: database.appUrl, DATA_DIR: await temporaryDirectory() });
  const client = new Client(direct.url, stranger.principal);
  const timed = async (taskId: string) => {
    const startedAt = performance.now();
    expect((await client.snapshot(taskId)).status).toBe(404);
    return performance.now() - startedAt;
  };
  for (let n = 0; n < 20; n += 1) await timed(NO_TASK);
  const pairs: [number, number][] = [];
  for (let n = 0; n < PAIRS; n += 1) {
    // Each is first in half of the pairs.
    const first = n % 2 === 0 ? await timed(NO_TASK) : 0;
    const foreign = await timed(tasks.large.taskId);
    pairs.push([n % 2 === 0 ? first : await timed(NO_TASK), foreign]);
  }
  const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
  const slower = pairs.filter(([missing, foreign]) => foreign > missing).length;
  process.stdout.write(
    `missing ${median(pairs.map(([missing]) => missing)).toFixed(2)} ms, foreign with 900 kB ${median(
      pairs.map(([, foreign]) => foreign),
    ).toFixed(2)} ms (medians); foreign slower in ${slower} of ${PAIRS}\n`,
  );
  await direct.stop();
}, 60_000);
