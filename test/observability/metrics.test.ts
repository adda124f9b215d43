import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { HOST_METRICS, METRICS, TRANSPORT_METRICS } from '../../src/observability/metrics.js';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { followLongPoll, followSse, followWebSocket, type Reader } from '../support/follow.js';
import { Metrics } from '../support/metrics.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { PostgresProxy } from '../support/postgres-proxy.js';
import { RemoteTask } from '../support/remote-task.js';
import { eventually, type Service, startService } from '../support/service.js';
import { WITH_WORKERS } from '../support/worker-client.js';

const CHECK = fileURLToPath(new URL('../../packages/checker/bin/check.mjs', import.meta.url));

let database: TestDatabase;
let service: Service;
let client: Client;

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startService({ DATABASE_URL: database.appUrl, ...WITH_WORKERS }, { lifetime: 'file' });
  client = newPrincipal(service.url);
});

afterAll(async () => {
  await service.stop();
  await database.drop();
});

const scrape = () => Metrics.scrape(service.url);
const until = (what: string, fits: (metrics: Metrics) => boolean) =>
  eventually(what, async () => {
    const metrics = await scrape();
    return fits(metrics) && metrics;
  });

describe('/metrics', () => {
  it('equals what the checker counts in the histories of all clients', async () => {
    const history: object[] = [];
    const create = async (taskType: string, input = {}, clientRequestId = uniqueId()) => {
      const answer = await client.create({ clientRequestId, taskType, input });
      expect([200, 201]).toContain(answer.status);
      history.push({ kind: 'created', taskId: answer.body.taskId });
      return answer.body.taskId;
    };
    const readers: [Reader, string][] = [];
    const follow = (by: typeof followSse, taskId: string, cursor: string | null = null) => {
      const reader = by(service.url, taskId, cursor, client.headers);
      const subscriber = `reader-${readers.push([reader, taskId])}`;
      history.push({ kind: 'connected', subscriber, taskId, cursor });
      return reader;
    };

    const tasks = await Promise.all([
      ...Array.from({ length: 6 }, () => create('demo.greet', { steps: 10, stepMs: 5 })),
      create('demo.fail'),
      create('demo.fail'),
    ]);
    const repeated = uniqueId();
    for (let n = 0; n < 4; n++) tasks[8] = await create('demo.echo', {}, repeated);
    const asked = await create('demo.approval');
    const cancelled = await create('demo.sleep', { ms: 60_000 });
    tasks.push(asked, cancelled);
    for (const taskId of tasks) for (const by of [followWebSocket, followSse, followLongPoll]) follow(by, taskId);

    const suspendId = await eventually('it asks', async () => {
      const { body } = await client.snapshot(asked);
      return body.openSuspension?.['suspendId'] as string | undefined;
    });
    const action = { clientActionId: uniqueId(), suspendId, actionType: 'approve' };
    for (const status of ['ACCEPTED', 'DEDUPLICATED']) {
      expect((await client.act(asked, action)).body.status).toBe(status);
    }
    await eventually('it runs', async () => (await client.snapshot(cancelled)).body.status === 'RUNNING');
    expect((await client.cancel(cancelled)).status).toBe(202);
    await Promise.all(readers.map(([reader]) => reader.end(20_000)));
    // A replay of what is over, from its middle.
    for (const by of [followWebSocket, followSse]) await follow(by, tasks[0] ?? '', '4').end();
    readers.forEach(([reader], n) => {
      const subscriber = `reader-${n + 1}`;
      for (const { raw } of reader.events) history.push({ kind: 'event', subscriber, raw });
      history.push({ kind: 'ended', subscriber });
    });

    const counts = await checked(history);
    // How an answer to a client ends is heard a moment after the client has it.
    const metrics = await until('every stream is over', (m) => m.of('streams_active') === 0 && m.of('tasks') === 0);
    expect({
      starts: metrics.of('task_starts_total'),
      duplicates: metrics.of('duplicates_total'),
      delivered: metrics.of('events_delivered_total'),
      failures: metrics.of('task_failures_total'),
      cancels: metrics.of('cancels_total'),
      accepted: metrics.of('actions_total', { status: 'ACCEPTED' }),
      deduplicated: metrics.of('actions_total', { status: 'DEDUPLICATED' }),
      slow: metrics.of('slow_consumer_closes_total'),
      fallbacks: metrics.of('fallbacks_total'),
      claims: metrics.of('claim_lag_seconds_count'),
    }).toEqual({
      // The checker counts a task once, however often its creation was answered.
      starts: counts['acknowledged'],
      duplicates: 3,
      delivered: counts['delivered'],
      failures: 2,
      cancels: 1,
      accepted: 1,
      deduplicated: 1,
      slow: 0,
      fallbacks: 0,
      // The approval is claimed again with its answer.
      claims: tasks.length + 1,
    });
    // 6 tasks of 10 steps; a batch may hold more than one event.
    expect(metrics.of('append_seconds_count')).toBeGreaterThan(0);
    expect(metrics.of('append_seconds_count')).toBeLessThanOrEqual(60);
    // Inline handlers append through the same use-case as remote workers.
    const appends = metrics.of('use_case_duration_seconds_count', { use_case: 'append_events', outcome: 'success' });
    expect(appends).toBe(metrics.of('append_seconds_count'));
    for (const transport of ['websocket', 'sse', 'long_poll']) {
      expect(metrics.find('streams_active', { transport })).toBe(0);
      expect(metrics.of('events_delivered_total', { transport })).toBeGreaterThan(0);
    }
    expect(metrics.of('disconnects_total', { reason: 'terminal' })).toBe(2 * tasks.length + 2);
    const creates = { method: 'POST', route: '/api/v1/tasks' };
    expect(metrics.of('http_request_duration_seconds_count', { ...creates, status: '201' })).toBe(tasks.length);
    expect(metrics.of('http_request_duration_seconds_count', { ...creates, status: '200' })).toBe(3);
    expect(metrics.of('http_request_duration_seconds_count', { route: '/metrics' })).toBe(0);
  }, 60_000);

  it('counts a task that is failed for coming to its limit of events', async () => {
    const bounded = await startService({ DATABASE_URL: database.appUrl, ...WITH_WORKERS, MAX_EVENTS_PER_TASK: '3' });
    const task = await RemoteTask.begin(newPrincipal(bounded.url));
    await task.progress(1);
    await expect(task.progress(2)).rejects.toThrow('LEASE_LOST');
    expect((await Metrics.scrape(bounded.url)).of('task_failures_total')).toBe(1);
    await bounded.stop();
  });

  it.each([
    ['losing its last attempt', false, "lease_expires_at = now() - interval '1 s', spent_attempts = 2"],
    ['a question that nobody answered', true, "suspend_expires_at = now() - interval '1 s'"],
  ])('counts a task that is failed for %s', async (_, asks, passed) => {
    const before = (await scrape()).of('task_failures_total');
    const task = await RemoteTask.begin(client);
    if (asks) await task.suspend();
    await connected(database.superuserUrl, (db) =>
      db.query(`UPDATE taskbridge.proj_tasks SET ${passed} WHERE task_id = $1`, [task.taskId]),
    );
    await eventually('it has failed', async () => (await client.snapshot(task.taskId)).body.status === 'FAILED');
    expect((await scrape()).of('task_failures_total')).toBe(before + 1);
  });

  it('shows the tasks that are not over by what they wait for, and how long', async () => {
    const before = await until('nothing is open', (m) => m.of('tasks') === 0);
    expect(before.find('oldest_non_terminal_age_seconds')).toBe(0);
    expect(before.find('oldest_claimable_age_seconds')).toBe(0);
    const waiting = (await client.create({ clientRequestId: uniqueId(), taskType: uniqueId('nobody') })).body.taskId;
    const task = await RemoteTask.begin(client);
    const asking = await RemoteTask.begin(client);
    await asking.suspend();
    await connected(database.superuserUrl, async (db) => {
      const ages = `created_at = created_at - interval '2 h', claimable_at = claimable_at - interval '1 h'`;
      await db.query(`UPDATE taskbridge.proj_tasks SET ${ages} WHERE task_id = $1`, [waiting]);
    });
    const metrics = await until('all are seen', (m) => m.of('tasks') === 3);
    for (const state of ['waiting', 'running', 'suspended']) expect(metrics.find('tasks', { state })).toBe(1);
    const age = metrics.of('oldest_non_terminal_age_seconds');
    expect([age >= 7200, age < 7300]).toEqual([true, true]);
    const lag = metrics.of('oldest_claimable_age_seconds');
    expect([lag >= 3600, lag < 3700]).toEqual([true, true]);
    await task.complete();
    await Promise.all([waiting, asking.taskId].map((taskId) => client.cancel(taskId)));
    await until('they are over', (m) => m.of('tasks') === 0 && m.find('oldest_non_terminal_age_seconds') === 0);
  }, 60_000);

  it('shows how long a reader keeps PostgreSQL from removing dead rows', async () => {
    // More than the sessions of a busy service hold for a moment.
    const many = 200;
    const age = (m: Metrics) => m.of('oldest_xmin_age_transactions');
    await connected(database.superuserUrl, async (reader) => {
      await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
      await reader.query('SELECT count(*) FROM taskbridge.proj_tasks');
      await connected(database.superuserUrl, async (writer) => {
        for (let n = 0; n < many; n += 1) await writer.query('SELECT pg_current_xact_id()');
      });
      await until('the reader is seen', (m) => age(m) >= many);
      await reader.query('COMMIT');
    });
    await until('it has gone', (m) => age(m) < many);
  }, 60_000);

  it('counts who goes on over a less capable transport, and nobody else', async () => {
    const fallbacks = (await scrape()).of('fallbacks_total');
    const taskId = (await client.create({ clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 60_000 } }))
      .body.taskId;
    const follow = async (by: typeof followSse) => {
      const active = (await scrape()).of('streams_active');
      const reader = by(service.url, taskId, null, client.headers);
      await reader.waitFor(({ events }) => events.length > 0);
      reader.close();
      await until('it has left', (m) => m.of('streams_active') === active);
    };
    await follow(followSse);
    await follow(followWebSocket);
    expect((await scrape()).of('fallbacks_total')).toBe(fallbacks);
    await follow(followSse);
    expect((await scrape()).of('fallbacks_total')).toBe(fallbacks + 1);
    await follow(followLongPoll);
    expect((await scrape()).of('fallbacks_total')).toBe(fallbacks + 2);
    await follow(followLongPoll);
    expect((await scrape()).of('fallbacks_total')).toBe(fallbacks + 2);
    await client.cancel(taskId);
  }, 60_000);

  it('has every metric of the catalogue, with its labels and no other', async () => {
    const names = (await scrape()).names();
    for (const [name, { kind, labels }] of Object.entries({ ...METRICS, ...TRANSPORT_METRICS, ...HOST_METRICS })) {
      const sample = names.get(`taskbridge_${name}${kind === 'histogram' ? '_count' : ''}`);
      // With labels there is no sample before the first observation.
      if (sample !== undefined || labels.length === 0) expect([name, sample]).toEqual([name, [...labels].sort()]);
    }
    expect([...names.keys()]).toEqual(
      expect.arrayContaining(['nodejs_eventloop_lag_seconds', 'process_resident_memory_bytes', 'process_open_fds']),
    );
  });

  it('is answered while PostgreSQL is gone, and says that it does not know the backlog', async () => {
    const proxy = await PostgresProxy.start(database.appUrl);
    const other = await startService({ DATABASE_URL: proxy.url });
    expect((await Metrics.scrape(other.url)).find('tasks', { state: 'running' })).toBe(0);
    await proxy.close();
    await eventually('the backlog is unknown', async () =>
      Number.isNaN((await Metrics.scrape(other.url)).find('oldest_claimable_age_seconds')),
    );
    expect((await Metrics.scrape(other.url)).find('task_starts_total')).toBe(0);
    await other.stop();
  }, 60_000);
});

/** What `packages/checker` counts, after it has found no broken promise. */
async function checked(history: readonly object[]): Promise<Readonly<Record<string, number>>> {
  const child = spawn(process.execPath, [CHECK, '--json', '--database-url', database.superuserUrl]);
  child.stdin.end(history.map((line) => JSON.stringify(line)).join('\n'));
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Record<string, number>;
}
