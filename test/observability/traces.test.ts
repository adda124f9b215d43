import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { storedEnvelopes } from '../support/fold.js';
import { followSse, followWebSocket } from '../support/follow.js';
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../support/otlp-receiver.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { type Lease, output, question, WITH_WORKERS, WORKER_TOKEN } from '../support/worker-client.js';

let database: TestDatabase;
let redis: TestRedis;

beforeAll(async () => {
  [database, redis] = await Promise.all([createTestDatabase(), startRedis()]);
}, 300_000);

afterAll(() => database.drop());

function newTrace() {
  const [traceId, spanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
  const uuid = traceId.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  return { traceId, spanId, uuid, traceparent: `00-${traceId}-${spanId}-01` };
}

const traced = (receiver: { endpoint: string }, env: Record<string, string> = {}) =>
  startService(
    {
      DATABASE_URL: database.appUrl,
      REDIS_URL: redis.url,
      ...WITH_WORKERS,
      OTEL_EXPORTER: 'otlp',
      LOG_USE_CASES: 'info',
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      ...env,
    },
    { traced: true },
  );

describe('One task', () => {
  let receiver: OtlpReceiver;
  let service: Service;
  let client: Client;
  let taskId: string;
  const [creation, answer] = [newTrace(), newTrace()];
  const of = ({ traceId }: { traceId: string }) => receiver.spans.filter((span) => span.traceId === traceId);
  const named = (spans: readonly ReceivedSpan[], name: string) => {
    const found = spans.find((span) => span.name === name);
    if (!found) throw new Error(`no ${name} among ${spans.map((span) => span.name).join(', ')}`);
    return found;
  };
  const parentOf = ({ parentSpanId }: ReceivedSpan) => receiver.spans.find(({ spanId }) => spanId === parentSpanId);

  beforeAll(async () => {
    receiver = await startOtlpReceiver();
    service = await traced(receiver, {
      OTEL_SERVICE_NAME: 'bridge',
      OTEL_EXPORTER_OTLP_HEADERS: 'x-collector-key=secret',
    });
    client = newPrincipal(service.url);
    const taskType = uniqueId('remote');
    const headers = { traceparent: creation.traceparent };
    const created = await client.create({ clientRequestId: uniqueId(), taskType }, headers);
    expect(created.headers.get('x-correlation-id')).toBe(creation.uuid);
    taskId = created.body.taskId;
    const worker = async (path: string, body: object, sent: Record<string, string> = {}) => {
      const authorization = { Authorization: `Bearer ${WORKER_TOKEN}` };
      const called = await client.post<{ leases: Lease[] }>(`/worker/v1/${path}`, body, { ...authorization, ...sent });
      expect(called.status).toBeLessThan(300);
      return called.body;
    };
    const claim = async () => {
      const body = { workerId: 'w', taskTypes: [taskType], maxTasks: 1, waitTimeoutMs: 10_000 };
      const [lease] = (await worker('leases', body)).leases;
      // What a worker that traces does with the context it is given.
      const goesOn = { traceparent: lease?.traceparent ?? '' };
      const call = (name: string, more: object) =>
        worker(`tasks/${taskId}/${name}`, { leaseToken: lease?.leaseToken, ...more }, goesOn);
      return { call, lease };
    };
    const first = await claim();
    expect(first.lease?.traceparent).toMatch(
      new RegExp(`^00-${creation.traceId}-(?!${creation.spanId})[0-9a-f]{16}-01$`),
    );
    await first.call('events', { batchSeq: 1, events: [output('hello')] });
    await first.call('suspend', question({ suspendId: 'q' }));
    const action = { clientActionId: uniqueId(), suspendId: 'q', actionType: 'approve' };
    const accepted = await client.post(`/api/v1/tasks/${taskId}/actions`, action, { traceparent: answer.traceparent });
    expect(accepted.headers.get('x-correlation-id')).toBe(answer.uuid);
    const second = await claim();
    await second.call('complete', { result: null });
    for (const path of ['/health', '/ready', '/metrics']) await (await fetch(service.url + path)).arrayBuffer();
    await service.stop();
  }, 60_000);

  afterAll(() => receiver.stop());

  it('has its whole story in the trace of the request that created it', () => {
    const spans = of(creation);
    const create = named(spans, 'tasks.command.create_task');
    expect(create.attributes).toMatchObject({
      'taskbridge.principal.id': client.principal,
      'taskbridge.task.id': taskId,
    });
    expect(spans.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'tasks.command.append_events',
        'tasks.command.suspend_attempt',
        'tasks.command.complete_attempt',
      ]),
    );
    // Nothing hangs in the air: every parent is there, up to the caller's own.
    for (const span of spans) {
      expect([span.name, parentOf(span) !== undefined || span.parentSpanId === creation.spanId]).toEqual([
        span.name,
        true,
      ]);
    }
    expect(create.resource).toMatchObject({ 'service.name': 'bridge' });
    expect(create.resource).not.toHaveProperty('process.command_args');
    expect(receiver.headers[0]).toMatchObject({ 'x-collector-key': 'secret' });
  });

  it('has the spans of the libraries, each within the one that it belongs to', () => {
    const spans = of(creation);
    const scopes = new Set(receiver.spans.map(({ scope }) => scope.replace('@opentelemetry/instrumentation-', '')));
    expect([...scopes]).toEqual(expect.arrayContaining(['http', 'express', 'pg', 'ioredis', 'taskbridge']));
    const http = spans.find(({ parentSpanId }) => parentSpanId === creation.spanId);
    expect(http?.attributes).toMatchObject({ 'http.route': '/api/v1/tasks' });
    const create = named(spans, 'tasks.command.create_task');
    const insert = spans.filter(({ parentSpanId, scope }) => parentSpanId === create.spanId && /pg$/.test(scope));
    expect(insert.length).toBeGreaterThan(0);
    // Neither the values of a statement nor a key of Redis with its payload.
    expect(JSON.stringify(receiver.spans)).not.toContain('hello');
  });

  it('is linked to by what began elsewhere: its claims and the answer to its question', () => {
    const action = named(of(answer), 'tasks.command.submit_action');
    expect(action.links).toEqual([creation.traceId]);
    const claims = receiver.spans.filter(({ name }) => name === 'tasks.command.claim_tasks');
    const linked = claims.filter(({ links }) => links.length > 0);
    expect(linked.map(({ links }) => links)).toEqual([[creation.traceId], [creation.traceId]]);
    expect(linked.map(({ traceId }) => traceId)).not.toContain(creation.traceId);
  });

  it('tells the same correlation in its events and its log', async () => {
    const events = (await storedEnvelopes(database.superuserUrl, taskId)).map(
      (raw) => JSON.parse(raw) as { type: string },
    );
    expect(events.map(({ type }) => type)).toEqual([
      'TASK_STARTED',
      'TASK_OUTPUT',
      'TASK_SUSPENDED',
      'TASK_ACTION_ACCEPTED',
      'TASK_RESUMED',
      'TASK_COMPLETED',
    ]);
    const told = service
      .stdout()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const correlationOf = (event: string) => told.find(({ msg }) => msg === event)?.['correlation_id'];
    expect(correlationOf('create_task.success')).toBe(creation.uuid);
    expect(correlationOf('complete_attempt.success')).toBe(creation.uuid);
    expect(correlationOf('submit_action.success')).toBe(answer.uuid);
  });

  it('has no probe and no scrape in any trace', () => {
    const text = JSON.stringify(receiver.spans);
    expect(text).not.toMatch(/\/(health|ready|metrics)\b/);
    expect(text).not.toContain('select 1');
  });
});

it('A task that runs inline goes on in the trace of its creation, and a WebSocket is recorded', async () => {
  const receiver = await startOtlpReceiver();
  const service = await traced(receiver);
  const client = newPrincipal(service.url);
  const { traceId, traceparent } = newTrace();
  const body = { clientRequestId: uniqueId(), taskType: 'demo.stream', input: { chunks: 3, intervalMs: 1 } };
  const { taskId } = (await client.create(body, { traceparent })).body;
  await followSse(service.url, taskId, null, client.headers).end();
  await followWebSocket(service.url, taskId, null, client.headers).end();
  await service.stop();
  const names = receiver.spans.filter((span) => span.traceId === traceId).map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(['tasks.attempt', 'tasks.command.complete_attempt']));
  const follows = receiver.spans.filter(({ name }) => name === 'tasks.query.follow_task');
  expect(follows.map(({ attributes }) => attributes['taskbridge.transport']).sort()).toEqual(['sse', 'websocket']);
  // Looking for work is no story.
  expect(
    receiver.spans.filter(({ parentSpanId, scope }) => parentSpanId === undefined && /pg|redis/.test(scope)),
  ).toEqual([]);
  await receiver.stop();
});

it('The sampler keeps all of a trace or nothing of it, and obeys who says not to', async () => {
  const receiver = await startOtlpReceiver();
  const service = await traced(receiver, { OTEL_SAMPLER_RATIO: '0.5' });
  const client = newPrincipal(service.url);
  const traces = Array.from({ length: 24 }, newTrace);
  for (const { traceparent } of traces) await client.list({}).then(() => client.snapshot(uniqueId(), { traceparent }));
  const unwanted = newTrace();
  await client.snapshot(uniqueId(), { traceparent: unwanted.traceparent.replace(/01$/, '00') });
  await service.stop();
  const seen = traces.filter(({ traceId }) => receiver.spans.some((span) => span.traceId === traceId));
  // 24 throws of a coin: all on one side come once in eight million runs.
  expect([seen.length > 0, seen.length < traces.length]).toEqual([true, true]);
  for (const { traceId } of seen) {
    expect(receiver.spans.filter((span) => span.traceId === traceId).map(({ name }) => name)).toContain(
      'tasks.query.read_task',
    );
  }
  expect(receiver.spans.some(({ traceId }) => traceId === unwanted.traceId)).toBe(false);
  await receiver.stop();
});

it('A collector that is gone costs a line and holds nothing up', async () => {
  // Port 1 is nobody's.
  const service = await traced(
    { endpoint: 'http://127.0.0.1:1' },
    {
      OTEL_BSP_SCHEDULE_DELAY: '50',
      OTEL_EXPORTER_OTLP_TIMEOUT: '500',
    },
  );
  const client = newPrincipal(service.url);
  for (let n = 0; n < 20; n++) expect((await client.list()).status).toBe(200);
  await eventually('it has a line', () => service.stdout().includes('"tracing.problem"'));
  for (let n = 0; n < 20; n++) expect((await client.list()).status).toBe(200);
  const stoppedAt = performance.now();
  expect(await service.stop()).toEqual({ code: 0, signal: null });
  expect(performance.now() - stoppedAt).toBeLessThan(15_000);
  expect(service.stdout().split('"tracing.problem"').length - 1).toBe(1);
  expect(service.stderr()).toBe('');
}, 40_000);

it.each(['OTEL_EXPORTER_OTLP_PROTOCOL', 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'])(
  '%s=http/protobuf is what a collector gets, compressed and with the headers of a file',
  async (name) => {
    const receiver = await startOtlpReceiver();
    const file = join(await temporaryDirectory(), 'headers');
    await writeFile(file, 'x-collector-key=secret\n');
    const service = await traced(receiver, {
      [name]: 'http/protobuf',
      OTEL_EXPORTER_OTLP_HEADERS_FILE: file,
      OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
      OTEL_SERVICE_NAME: 'bridge-by-protobuf',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment=tested',
    });
    const { traceId, traceparent } = newTrace();
    await newPrincipal(service.url).snapshot(uniqueId(), { traceparent });
    await service.stop();
    const sent = Buffer.concat(receiver.binary);
    // Strings and ids stand in protobuf as they are.
    for (const text of ['bridge-by-protobuf', 'deployment.environment', 'tested', 'tasks.query.read_task']) {
      expect(sent.includes(text)).toBe(true);
    }
    expect(sent.includes(Buffer.from(traceId, 'hex'))).toBe(true);
    expect(receiver.spans).toEqual([]);
    expect(receiver.headers[0]).toMatchObject({ 'x-collector-key': 'secret', 'content-encoding': 'gzip' });
    expect(service.stdout()).not.toContain('secret');
    await receiver.stop();
  },
);

it('OTEL_SDK_DISABLED=true sends nothing', async () => {
  const receiver = await startOtlpReceiver();
  const service = await traced(receiver, { OTEL_SDK_DISABLED: 'true' });
  expect((await newPrincipal(service.url).list()).status).toBe(200);
  await service.stop();
  expect(receiver.headers).toEqual([]);
  await receiver.stop();
});

it('OTEL_EXPORTER=console writes spans as lines like all others', async () => {
  const service = await startService({ DATABASE_URL: database.appUrl, OTEL_EXPORTER: 'console' }, { traced: true });
  const { uuid, traceparent } = newTrace();
  const { headers } = await newPrincipal(service.url).snapshot(uniqueId(), { traceparent });
  expect(headers.get('x-correlation-id')).toBe(uuid);
  await service.stop();
  const spans = service
    .stdout()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ msg }) => msg === 'tracing.span');
  expect(spans.find(({ name }) => name === 'tasks.query.read_task')).toMatchObject({ correlation_id: uuid });
});
