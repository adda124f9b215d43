import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { followSse } from '../support/follow.js';
import { type LogCalls, logCalls } from '../support/log-calls.js';
import { logCatalogue } from '../support/log-catalogue.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { RemoteTask } from '../support/remote-task.js';
import { eventually, type Service, startService } from '../support/service.js';
import { WITH_WORKERS } from '../support/worker-client.js';

const sorted = (names: ReadonlySet<string>) => [...names].sort();

describe('docs/log-events.md', () => {
  const { events, useCases, problemOf } = logCatalogue();

  describe('and what the compiler knows of the log', () => {
    let calls: LogCalls;

    beforeAll(() => {
      calls = logCalls();
    }, 60_000);

    it('have the same events, but for a span, which is a line of its own exporter', () => {
      expect(sorted(calls.events.union(new Set(['tracing.span'])))).toEqual(sorted(events));
    });

    it('have the same use-cases', () => {
      expect(sorted(calls.useCases)).toEqual(sorted(useCases));
    });

    it('leave open no name but those that these two complete', () => {
      expect(sorted(calls.relays)).toEqual(['Observer', 'Trouble']);
    });
  });

  it.each([
    ['an event that it does not have', { msg: 'thing.happened' }],
    ['another level', { level: 'warn' }],
    ['a field that it does not have', { secret: 1 }],
    ['a field that is always there missing', { correlation_id: undefined }],
  ])('finds %s in a line', (_, change) => {
    const line = { level: 'info', time: '', correlation_id: null, causation_id: null, msg: 'live_log.redis_back' };
    expect(problemOf(JSON.stringify(line))).toBeUndefined();
    expect(problemOf(JSON.stringify({ ...line, ...change }))).toBeDefined();
  });
});

describe('A line of Nest or of a host module', () => {
  const { problemOf } = logCatalogue();
  const line = { level: 'info', time: '', correlation_id: null, causation_id: null };
  const judged = (fields: object, withHost = true) => problemOf(JSON.stringify({ ...line, ...fields }), withHost);

  it('has a context and whatever fields it likes, or a name of the host', () => {
    expect(judged({ context: 'Orders', orderId: 7 }, false)).toBeUndefined();
    expect(judged({ msg: 'acme.order_placed', orderId: 7 })).toBeUndefined();
  });

  it.each([
    ['lacks what every line has', { context: 'Orders', time: undefined }],
    ['looks like an event of the service that there is not', { msg: 'live_log.lots' }],
    ['has a field more than the event of the service', { msg: 'live_log.redis_back', secret: 1 }],
  ])('is found where it %s', (_, fields) => {
    expect(judged(fields)).toBeDefined();
  });

  it('is none where there is no host module', () => {
    expect(judged({ msg: 'acme.order_placed' }, false)).toBeDefined();
  });
});

describe('The log of a service', () => {
  let database: TestDatabase;
  let service: Service;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = { DATABASE_URL: database.appUrl, LOG_LEVEL: 'debug', ...WITH_WORKERS };
    service = await startService(env, { lifetime: 'file' });
    client = newPrincipal(service.url);
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  type Line = Readonly<Record<string, unknown>>;
  const lines = (correlationId: string) =>
    service
      .stdout()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line)
      .filter((line) => line['correlation_id'] === correlationId);
  /** The names of a request's lines, once its last is there. */
  const storyOf = async (answer: { readonly headers: Headers }) => {
    const correlationId = answer.headers.get('x-correlation-id') ?? '';
    const told = await eventually('the request is logged', () => {
      const found = lines(correlationId);
      return found.some(({ msg }) => msg === 'http_request.completed') && found;
    });
    return told.map(({ msg }) => msg);
  };

  it('tells of a request from its use-case to its answer', async () => {
    const body = { clientRequestId: uniqueId(), taskType: uniqueId('remote') };
    const created = ['create_task.start', 'create_task.success', 'http_request.completed'];
    expect(await storyOf(await client.create(body))).toEqual(created);
    expect(await storyOf(await client.create(body))).toEqual([
      'create_task.start',
      'idempotency.cache_hit',
      'create_task.success',
      'http_request.completed',
    ]);
    const conflict = await client.create({ ...body, input: { other: true } });
    expect(await storyOf(conflict)).toEqual(['create_task.start', 'create_task.denied', 'http_request.completed']);
    const large = await client.create({ ...body, input: { large: 'x'.repeat(2 ** 20) } });
    expect(await storyOf(large)).toEqual(['body_size_limit.rejected', 'http_request.completed']);
    const nobody = await client.request('GET', '/api/v1/tasks', { headers: { 'X-Principal-Id': '' } });
    expect(await storyOf(nobody)).toEqual(['authentication.rejected', 'http_request.completed']);
  });

  it('says with every line of a task whose consequence it is', async () => {
    const task = await RemoteTask.begin(client);
    await task.progress(50);
    await task.complete();
    await followSse(service.url, task.taskId, null, client.headers).end();
    const about = await eventually('the stream is logged', () => {
      const found = service
        .stdout()
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Line)
        .filter(({ taskId }) => taskId === task.taskId);
      return found.some(({ msg }) => msg === 'follow_task.success') && found;
    });
    expect(about.map(({ msg }) => msg)).toEqual(
      expect.arrayContaining(['append_events.start', 'append_events.success', 'complete_attempt.success']),
    );
    for (const line of about) expect(line).toHaveProperty('causation_id');
    const stored = about.filter(({ eventId }) => eventId !== undefined).map(({ msg, eventId }) => [msg, eventId]);
    expect(stored).toEqual([
      ['append_events.success', '2'],
      ['complete_attempt.success', '3'],
    ]);
  });

  it('does not tell of probes and scrapes', async () => {
    const before = service.stdout();
    for (const path of ['/health', '/ready', '/metrics', '/ready?x=1', '/metrics/']) {
      await (await fetch(service.url + path)).arrayBuffer();
    }
    const { headers } = await client.list();
    await storyOf({ headers });
    const added = service.stdout().slice(before.length);
    expect(added).toContain('"/api/v1/tasks"');
    expect(added).not.toMatch(/health|ready|metrics/);
  });

  it('ends with why and how long it took to stop', async () => {
    await service.stop();
    const last = service.stdout().trim().split('\n').slice(-2);
    expect(last.map((line) => JSON.parse(line) as Line)).toMatchObject([
      { msg: 'service.stopping', reason: 'SIGTERM' },
      { msg: 'service.stopped' },
    ]);
  });
});
