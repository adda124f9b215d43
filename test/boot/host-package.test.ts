import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, expectError, expectFieldErrors, uniqueId } from '../support/client.js';
import { followSse } from '../support/follow.js';
import { field, file, formOf } from '../support/form.js';
import { Metrics } from '../support/metrics.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { WITH_WORKERS } from '../support/worker-client.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
const tsc = join(root, 'node_modules/typescript/bin/tsc');

/** Beside the dependencies of the package: the types of Node, which a host in TypeScript has. */
const TYPES = ['@types/node', 'undici-types'];

/** Every type of the public surface, as a host would name it. What stands there as a value is in examples/every-port. */
const NAMED_TYPES = `import type {
  ActionToValidate, AuthContext, ByteRange, CompositeOptions, CounterName, ErrorKind, GaugeName, HistogramName, JsonObject, LabelsOf,
  LiveLogFollower, OwnedTask, Readiness, Scope, StoredEvent, SuspendAnswer, SuspendRequest, SuspensionKind, TaskAttachment,
  TaskContext, TaskHandler, TaskHandlers, UploadAllowance, UploadedFile,
} from 'taskbridge';
import { AlwaysReadyProbe, ExecutorReadinessProbe, NoOpMetricsSink, NoOpTransportDiagnosticsSink, RedisReadinessProbe, Requires,
  CompositeReadinessProbe, TaskBridgeError } from 'taskbridge';

export const question: SuspendRequest = { reasonCode: 'WHY', allowedActions: ['because'], kind: 'USER_ACTION_REQUIRED' };
export const labels: LabelsOf<'actions_total'> = [{ status: 'ACCEPTED' }];
export const none: LabelsOf<'task_starts_total'> = [];
export const names: [CounterName, GaugeName, HistogramName] = ['cancels_total', 'ready', 'append_seconds'];
export const sinks = [new NoOpMetricsSink(), new NoOpTransportDiagnosticsSink()];
export const payloadOf = (event: StoredEvent): JsonObject => JSON.parse(event.payloadJson) as JsonObject;
export class OutOfStock extends TaskBridgeError {
  override readonly code = 'OUT_OF_STOCK';
  override readonly kind = 'conflict' satisfies ErrorKind;
}
// The page of the original has these lines.
export const probe = new CompositeReadinessProbe({
  redis: new RedisReadinessProbe('redis://127.0.0.1'),
  executor: new ExecutorReadinessProbe({ checkHealth: async () => 'a client of the engine' }),
  always: new AlwaysReadyProbe(),
});
export const scope: Scope = 'tasks:read';
export const mine = Requires<'acme:orders'>('acme:orders');
// @ts-expect-error a misspelt scope
export const misspelt = Requires('tasks:raed');
// @ts-expect-error a counter that there is not
new NoOpMetricsSink().increment('tasks_total');
export type Rest = [ActionToValidate, AuthContext, ByteRange, CompositeOptions, LiveLogFollower, OwnedTask, Readiness, SuspendAnswer,
  SuspensionKind, TaskAttachment, TaskContext, TaskHandler, TaskHandlers, UploadAllowance, UploadedFile];
`;

let directory: string;

/** A directory with the packed package in it, as `npm install` would leave it; its dependencies are those of the checkout. */
beforeAll(async () => {
  directory = await temporaryDirectory();
  const modules = join(directory, 'node_modules');
  const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', directory];
  const { stdout } = await run('npm', pack, { cwd: root });
  await mkdir(join(modules, 'taskbridge'), { recursive: true });
  await run('tar', ['-xzf', join(directory, stdout.trim()), '-C', join(modules, 'taskbridge'), '--strip-components=1']);
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { dependencies: object };
  for (const name of [...Object.keys(manifest.dependencies), ...TYPES]) {
    await mkdir(dirname(join(modules, name)), { recursive: true });
    await symlink(join(root, 'node_modules', name), join(modules, name));
  }
  await cp(join(root, 'examples/every-port'), directory, { recursive: true });
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }');
  await writeFile(join(directory, 'named-types.ts'), NAMED_TYPES);
}, 60_000);

/** What the compiler complains of. */
async function complaints(...options: readonly string[]): Promise<string> {
  const compiled = run(process.execPath, [tsc, '-p', directory, '--strict', ...options], { cwd: directory });
  return compiled.then(
    () => '',
    (error: { stdout: string }) => error.stdout,
  );
}

describe('The packed package', () => {
  it('has types that compile strictly, the libraries behind them included', async () => {
    expect(await complaints('--skipLibCheck', 'false')).toBe('');
  }, 120_000);
});

describe('A host of TypeScript outside of the checkout, with every port of its own', () => {
  const KEYS = {
    'key-of-ada': {
      subject: 'ada',
      tenant: 'acme',
      scopes: ['tasks:read', 'tasks:write', 'tasks:upload', 'acme:quotes'],
    },
    'key-of-bob': { subject: 'bob', tenant: 'acme', scopes: [] },
  };
  let database: TestDatabase;
  let redis: TestRedis;
  let stock: Server;
  let service: Service;
  let ada: Client;
  let bob: Client;

  class WithKey extends Client {
    override get headers() {
      return { 'X-Api-Key': this.principal ?? '' };
    }
  }

  beforeAll(async () => {
    expect(await complaints()).toBe('');
    [database, redis] = await Promise.all([createTestDatabase(), startRedis()]);
    stock = createServer((_, response) => response.end());
    await once(stock.listen(0, '127.0.0.1'), 'listening');
    service = await startService(
      {
        DATABASE_URL: database.appUrl,
        REDIS_URL: redis.url,
        HOST_MODULE: join(directory, 'dist/host.js'),
        API_KEYS: JSON.stringify(KEYS),
        STOCK_URL: `http://127.0.0.1:${(stock.address() as AddressInfo).port}`,
        ...WITH_WORKERS,
      },
      { lifetime: 'file' },
    );
    [ada, bob] = [new WithKey(service.url, 'key-of-ada'), new WithKey(service.url, 'key-of-bob')];
  }, 120_000);

  afterAll(async () => {
    await service.stop();
    expect(service.stderr()).toBe('');
    stock.close();
    await Promise.all([database.drop(), redis.stop()]);
  });

  type Line = Readonly<Record<string, unknown>>;
  const lines = () =>
    service
      .stdout()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line);
  const asked = async () => (await ada.request<Record<string, number>>('GET', '/acme/asked')).body;

  it('asks each of them for the work of a task', async () => {
    const parts = [field('clientRequestId', uniqueId()), field('taskType', 'acme.count')];
    const created = await ada.request<{ taskId: string }>(
      'POST',
      '/api/v1/tasks',
      formOf([...parts, file('a.txt', 'one two')]),
    );
    expect(created.status).toBe(201);
    const { taskId } = created.body;
    const follower = followSse(service.url, taskId, null, ada.headers);
    const suspendId = await eventually('it asks', async () => {
      const { body } = await ada.snapshot(taskId);
      return body.openSuspension?.['suspendId'] as string | undefined;
    });
    expectError(
      await bob.act(taskId, { clientActionId: uniqueId(), suspendId, actionType: 'yes' }),
      403,
      'ACCESS_DENIED',
    );
    const yes = { clientActionId: uniqueId(), suspendId, actionType: 'yes' };
    expect(expectFieldErrors(await ada.act(taskId, yes))).toEqual([
      { path: 'payload.reason', message: 'is required with yes' },
    ]);
    expect((await ada.act(taskId, { ...yes, payload: { reason: 'I want to know' } })).status).toBe(202);
    expect((await follower.end()).kind).toBe('end');
    // A replay: the first stream may have begun before the first event.
    expect((await followSse(service.url, taskId, null, ada.headers).end()).kind).toBe('end');
    const { status, result, ...rest } = (await ada.snapshot(taskId)).body;
    expect([status, result]).toEqual(['COMPLETED', { words: 2 }]);
    const { attachments } = rest as unknown as { attachments: { attachmentId: string }[] };
    const path = `/api/v1/tasks/${taskId}/attachments/${attachments[0]?.attachmentId}`;
    const part = await ada.request('GET', path, { headers: { Range: 'bytes=4-6' } });
    expect([part.status, part.text]).toEqual([206, 'two']);
    const refused = formOf([...parts, file('a.json', '{}', 'application/json')]);
    expectError(await ada.request('POST', '/api/v1/tasks', refused), 403, 'UPLOAD_FORBIDDEN');
    const waiting = await ada.create({ clientRequestId: uniqueId(), taskType: 'acme.nobody' });
    expect((await ada.cancel(waiting.body.taskId)).status).toBe(202);
    expectError(await ada.create({ clientRequestId: uniqueId(), taskType: 'demo.echo' }), 403, 'TASK_OWNERSHIP_ERROR');
    expect((await fetch(`${service.url}/ready`)).status).toBe(200);
    const wanted = [
      'AuthContextResolver.resolve',
      ...['mayCreate', 'mayRead', 'mayControl'].map((method) => `OwnershipPolicy.${method}`),
      'ActionValidationPolicy.validate',
      ...['admit', 'check'].map((method) => `UploadPolicy.${method}`),
      ...['put', 'open', 'remove', 'checkHealth'].map((method) => `AttachmentStore.${method}`),
      ...['start', 'follow', 'publish'].map((method) => `LiveLog.${method}`),
      'ReadinessProbe.checkReadiness',
      ...['increment', 'adjust', 'set', 'observe'].map((method) => `MetricsSink.${method}`),
      ...['replayStarted', 'delivered', 'disconnected'].map((method) => `TransportDiagnosticsSink.${method}`),
      'TASK_HANDLERS.acme.count',
    ];
    // Some work is done behind the answers, such as the removal of a refused file.
    const calls = await eventually(`each is asked: ${wanted.join()}`, async () => {
      const all = await asked();
      return wanted.every((call) => call in all) && all;
    });
    expect(Object.keys(calls).filter((call) => call.startsWith('TaskExecutor'))).toEqual([]);
  });

  it('tells Prometheus all the same, beside metrics of its own', async () => {
    await ada.post('/acme/quotes', { lines: [] });
    const metrics = await Metrics.scrape(service.url);
    expect(metrics.of('task_starts_total')).toBe(2);
    expect(metrics.of('events_delivered_total')).toBeGreaterThan(0);
    const text = await (await fetch(`${service.url}/metrics`)).text();
    expect(text).toMatch(/^acme_quotes_total [1-9]/m);
    expect(text.match(/^# TYPE process_cpu_seconds_total /gm)).toHaveLength(1);
  });

  it('is as ready as the probes that it composed', async () => {
    const ready = async () => {
      const response = await fetch(`${service.url}/ready`);
      const { details } = (await response.json()) as { details: Record<string, { status: string }> };
      return { status: response.status, details };
    };
    const all = { postgres: 'ready', redis: 'ready', executor: 'ready', attachments: 'ready', stock: 'ready' };
    const details = (change: object) =>
      Object.fromEntries(Object.entries({ ...all, ...change }).map(([name, status]) => [name, { status }]));
    const becomes = (status: number, change: object) =>
      eventually(`/ready is ${status}`, async () => {
        const answer = await ready();
        return answer.status === status && expect(answer.details).toEqual(details(change)) === undefined;
      });
    await becomes(200, {});
    const { port } = stock.address() as AddressInfo;
    stock.closeAllConnections();
    await promisify(stock.close.bind(stock))();
    await becomes(503, { stock: 'not_ready' });
    await once(stock.listen(port, '127.0.0.1'), 'listening');
    await becomes(200, {});
    await redis.kill();
    await becomes(503, { redis: 'not_ready' });
    await redis.restart({ keepData: false });
    await becomes(200, {});
    // A line may arrive after the answer that it is about.
    const told = await eventually('the last change is logged', () => {
      const found = lines().filter(({ msg }) => String(msg).startsWith('readiness.'));
      return found.length >= 4 && found;
    });
    expect(told.map(({ msg, probe }) => [msg, probe])).toEqual([
      ['readiness.lost', 'stock'],
      ['readiness.regained', 'stock'],
      ['readiness.lost', 'redis'],
      ['readiness.regained', 'redis'],
    ]);
  }, 60_000);

  it('has routes: for everybody, for every caller, for those with a scope', async () => {
    const nobody = new Client(service.url);
    expect(await nobody.request('GET', '/acme/hello')).toMatchObject({ status: 200, body: { hello: 'world' } });
    expectError(await nobody.request('GET', '/acme/me'), 401, 'AUTHENTICATION_ERROR');
    expect((await bob.request('GET', '/acme/me')).body).toEqual({ subject: 'bob', tenantId: 'acme' });
    expectError(await nobody.request('GET', '/acme/asked'), 401, 'AUTHENTICATION_ERROR');
    const { message } = expectError(await bob.request('GET', '/acme/asked'), 403, 'ACCESS_DENIED');
    expect(message).toBe('This needs the scope tasks:read.');
    expect((await ada.request('GET', '/acme/asked')).status).toBe(200);
    expectError(await bob.post('/acme/quotes', { lines: [] }), 403, 'ACCESS_DENIED');
    const { paths } = (await (await fetch(`${service.url}/openapi.json`)).json()) as { paths: object };
    expect(Object.keys(paths)).toEqual(expect.arrayContaining(['/acme/hello', '/acme/quotes']));
  });

  it.each([
    ['small', 'x'],
    ['read on a thread of its own', 'x'.repeat(100_000)],
  ])('gets a body whole that nests as its DTO says, when it is %s', async (_, text) => {
    const wishes = { paper: { colours: [['red'], { blue: { dark: true } }] }, text };
    const lines = [
      { sku: 'a', pieces: 2 },
      { sku: 'b', pieces: 3 },
    ];
    expect((await ada.post('/acme/quotes', { lines, wishes })).body).toEqual({ pieces: 5, wishes });
    const wrong = await ada.post('/acme/quotes', { lines: [{ sku: 'a', pieces: 0 }], wishes: [] });
    expect(expectFieldErrors(wrong).map(({ path }) => path)).toEqual(['lines[0].pieces', 'wishes']);
    // Validators look into lists of lists and find nothing wrong with them; what stands there would be lost.
    const lost = await ada.post('/acme/quotes', { lines: [lines], wishes: { text } });
    expect(expectFieldErrors(lost)).toEqual([
      { path: 'lines[0]', message: 'is larger than this route takes, or nests deeper' },
    ]);
  });

  it('logs each line with all its fields and whose consequence it is', async () => {
    const body = { lines: [{ sku: 'a', pieces: 2 }] };
    const { headers } = await ada.post('/acme/quotes', body);
    const story = { correlation_id: headers.get('x-correlation-id'), causation_id: null };
    const [byLogger, byLog] = await eventually('both lines are there', () => {
      const told = lines().filter(({ correlation_id }) => correlation_id === story.correlation_id);
      const found = [told.find(({ context }) => context === 'Acme'), told.find(({ msg }) => msg === 'acme.quote_made')];
      return found.every(Boolean) && found;
    });
    const time = expect.stringMatching(/Z$/);
    expect(byLogger).toEqual({
      level: 'info',
      time,
      ...story,
      context: 'Acme',
      event: 'quote',
      lines: 1,
      first: body.lines[0],
    });
    expect(byLog).toEqual({ level: 'info', time, ...story, msg: 'acme.quote_made', principal_id: 'ada', pieces: 2 });
    // The top of the module wrote this line before there was an application.
    expect(lines()[0]).toEqual(expect.objectContaining({ level: 'info', context: 'Acme', event: 'loaded' }));
  });
});
