import { get } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { signed } from '../../src/auth/follow-token-text.js';
import { createApplication } from '../../src/boot/application.js';
import { readConfig } from '../../src/boot/config.js';
import { Database } from '../../src/database/database.js';
import { createPool } from '../../src/database/pool.js';
import { createLogger } from '../../src/observability/log.js';
import { uniqueId } from '../support/client.js';
import { openWebSocket, recordWebSocket } from '../support/follow.js';
import { field, file, formOf } from '../support/form.js';
import { MultiplexClient } from '../support/multiplex-client.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { framesOf, handlersOf, nameOf } from '../support/routes.js';
import { type Service, startService, temporaryDirectory } from '../support/service.js';
import { type Lease, question, WITH_WORKERS, WORKER_TOKEN, WorkerClient } from '../support/worker-client.js';

/**
 * The answer for each caller from every route, and from every kind of frame in both modes of the WebSocket: an HTTP status, a
 * close code, `ok` for an obeyed frame, `e404` for an ERROR frame of that kind, `none` where no subscription is there to end. The
 * rows are compared with what the code declares, so that a route cannot be added without one.
 *
 * All are asked about one task: it belongs to `owner` in a tenant, is leased to `worker`, and has a file and, for actions, an
 * open question.
 */
const MATRIX = `
                                                     nobody  no proof  reserved  other  namesake  mate  mate*  writer  reader  owner  worker  stale  lease  admin  operator  token  reading  own   elsewhere  bad  two
GET /api/v1                                          401     401       401       200    200       200   200    403     200     200    401     401    401    200    403       200    200      200   200        401  401
POST /api/v1/tasks                                   401     401       401       201    201       201   201    201     403     201    401     401    401    403    403       403    403      403   403        401  401
GET /api/v1/tasks                                    401     401       401       200    200       200   200    403     200     200    401     401    401    200    403       403    403      200   403        401  401
GET /api/v1/tasks/changes                            401     401       401       200    200       200   200    403     200     200    401     401    401    200    403       403    403      200   403        401  401
GET /api/v1/tasks/changes/stream                     401     401       401       200    200       200   200    403     200     200    401     401    401    200    403       403    403      200   403        401  401
GET /api/v1/tasks/:taskId                            401     401       401       404    404       404   200    403     200     200    401     401    401    200    403       200    200      200   404        401  401
POST /api/v1/tasks/bulk/cancel                       401     401       401       200    200       200   200    200     403     200    401     401    401    403    200       403    403      403   403        401  401
POST /api/v1/tasks/bulk/retry                        401     401       401       200    200       200   200    200     403     200    401     401    401    403    200       403    403      403   403        401  401
GET /api/v1/bulks/:bulkId                            401     401       401       404    404       404   404    404     403     404    401     401    401    403    404       403    403      403   403        401  401
DELETE /api/v1/tasks/:taskId                         401     401       401       404    404       404   404    409     403     409    401     401    401    403    204       403    403      403   403        401  401
DELETE /api/v1/owners/:ownerId/tasks                 401     401       401       403    403       403   403    200     403     200    401     401    401    403    200       403    403      403   403        401  401
POST /api/v1/tasks/:taskId/cancel                    401     401       401       404    404       404   404    202     403     202    401     401    401    403    202       202    403      202   404        401  401
POST /api/v1/tasks/:taskId/actions                   401     401       401       404    404       404   404    202     403     202    401     401    401    403    202       202    403      202   404        401  401
POST /api/v1/tasks/:taskId/retry                     401     401       401       404    404       404   404    409     403     409    401     401    401    403    409       403    403      403   403        401  401
GET /api/v1/tasks/:taskId/events                     401     401       401       404    404       404   200    403     200     200    401     401    401    200    403       200    200      200   404        401  401
GET /api/v1/tasks/:taskId/events/stream              401     401       401       404    404       404   200    403     200     200    401     401    401    200    403       200    200      200   404        401  401
GET /api/v1/tasks/:taskId/attachments/:attachmentId  401     401       401       404    404       404   200    403     200     200    200     409    200    200    403       200    200      200   404        401  401
PUT /api/v1/schedules/:name                          401     401       401       201    201       201   201    201     403     201    401     401    401    403    403       403    403      403   403        401  401
GET /api/v1/schedules                                401     401       401       200    200       200   200    403     200     200    401     401    401    200    403       403    403      403   403        401  401
GET /api/v1/schedules/:name                          401     401       401       404    404       404   404    403     404     404    401     401    401    404    403       403    403      403   403        401  401
DELETE /api/v1/schedules/:name                       401     401       401       404    404       404   404    404     403     404    401     401    401    403    403       403    403      403   403        401  401
POST /api/v1/follow-tokens                           401     401       401       404    404       404   201    403     201     201    401     401    401    404    403       403    403      403   403        401  401
DELETE /api/v1/follow-tokens                         401     401       401       404    404       404   404    403     204     204    401     401    401    404    204       403    403      403   403        401  401
GET /api/v1/task-types/:taskType                     401     401       401       403    403       403   403    403     403     403    401     401    401    200    403       403    403      403   403        401  401
PUT /api/v1/task-types/:taskType/pause               401     401       401       403    403       403   403    403     403     403    401     401    401    403    200       403    403      403   403        401  401
DELETE /api/v1/task-types/:taskType/pause            401     401       401       403    403       403   403    403     403     403    401     401    401    403    200       403    403      403   403        401  401
GET /api/v1/me                                       401     401       401       200    200       200   200    200     200     200    401     401    401    200    200       403    403      403   403        401  401
GET /api/v1/tasks/counts                             401     401       401       200    200       200   200    403     200     200    401     401    401    200    403       403    403      403   403        401  401
GET /api/v1/questions                                401     401       401       200    200       200   200    403     200     200    401     401    401    200    403       403    403      403   403        401  401
GET /api/v1/tasks/stuck                              401     401       401       403    403       403   403    403     403     403    401     401    401    200    403       403    403      403   403        401  401
GET /api/v1/task-types                               401     401       401       403    403       403   403    403     403     403    401     401    401    200    403       403    403      403   403        401  401
GET /api/v1/system/workers                           401     401       401       403    403       403   403    403     403     403    401     401    401    200    403       403    403      403   403        401  401
GET /api/v1/system/replicas                          401     401       401       403    403       403   403    403     403     403    401     401    401    200    403       403    403      403   403        401  401
GET /api/v1/system/streams                           401     401       401       403    403       403   403    403     403     403    401     401    401    200    403       403    403      403   403        401  401
GET /api/v1/system/settings                          401     401       401       403    403       403   403    403     403     403    401     401    401    200    403       403    403      403   403        401  401
GET /api/v1/system/readiness                         401     401       401       403    403       403   403    403     403     403    401     401    401    200    403       403    403      403   403        401  401
GET /api/v1/system/retention                         401     401       401       403    403       403   403    403     403     403    401     401    401    200    403       403    403      403   403        401  401
GET /api/v1/system/numbers                           401     401       401       403    403       403   403    403     403     403    401     401    401    200    403       403    403      403   403        401  401
GET /api/v1/system/log                               401     401       401       403    403       403   403    403     403     403    401     401    401    200    403       403    403      403   403        401  401
DELETE /api/v1/system/streams/:streamId              401     401       401       403    403       403   403    403     403     403    401     401    401    403    404       403    403      403   403        401  401
GET /worker/v1                                       401     401       401       401    401       401   401    401     401     401    200     200    401    401    401       401    401      401   401        401  401
POST /worker/v1/leases                               401     401       401       401    401       401   401    401     401     401    200     200    401    401    401       401    401      401   401        401  401
POST /worker/v1/heartbeats                           401     401       401       401    401       401   401    401     401     401    200     200    401    401    401       401    401      401   401        401  401
POST /worker/v1/signals                              401     401       401       401    401       401   401    401     401     401    200     200    401    401    401       401    401      401   401        401  401
POST /worker/v1/tasks/:taskId/events                 401     401       401       401    401       401   401    401     401     401    200     409    401    401    401       401    401      401   401        401  401
POST /worker/v1/tasks/:taskId/heartbeat              401     401       401       401    401       401   401    401     401     401    200     409    401    401    401       401    401      401   401        401  401
POST /worker/v1/tasks/:taskId/steps                  401     401       401       401    401       401   401    401     401     401    200     409    401    401    401       401    401      401   401        401  401
POST /worker/v1/tasks/:taskId/attachments           401     401       401       401    401       401   401    401     401     401    200     409    401    401    401       401    401      401   401        401  401
POST /worker/v1/tasks/:taskId/suspend                401     401       401       401    401       401   401    401     401     401    200     409    401    401    401       401    401      401   401        401  401
POST /worker/v1/tasks/:taskId/complete               401     401       401       401    401       401   401    401     401     401    200     409    401    401    401       401    401      401   401        401  401
POST /worker/v1/tasks/:taskId/fail                   401     401       401       401    401       401   401    401     401     401    200     409    401    401    401       401    401      401   401        401  401
POST /worker/v1/tasks/:taskId/cancelled              401     401       401       401    401       401   401    401     401     401    200     409    401    401    401       401    401      401   401        401  401
POST /worker/v1/tasks/:taskId/release                401     401       401       401    401       401   401    401     401     401    204     409    401    401    401       401    401      401   401        401  401
subscribe                                            401     401       401       4404   4404      4404  ok     4403    ok      ok     401     401    401    ok     4403      ok     ok       ok    4404       401  401
subscribe, multiplex                                 401     401       401       e404   e404      e404  ok     e403    ok      ok     401     401    401    ok     e403      ok     ok       ok    e404       401  401
subscribe_changes                                    401     401       401       4400   4400      4400  4400   4400    4400    4400   401     401    401    4400   4400      4400   4400     4400  4400       401  401
subscribe_changes, multiplex                         401     401       401       ok     ok        ok    ok     e403    ok      ok     401     401    401    ok     e403      e403   e403     ok    e403       401  401
unsubscribe_changes                                  401     401       401       4400   4400      4400  4400   4400    4400    4400   401     401    401    4400   4400      4400   4400     4400  4400       401  401
unsubscribe_changes, multiplex                       401     401       401       none   none      none  none   none    none    none   401     401    401    none   none      none   none     none  none       401  401
unsubscribe                                          401     401       401       4400   4400      4400  4400   4400    4400    4400   401     401    401    4400   4400      4400   4400     4400  4400       401  401
unsubscribe, multiplex                               401     401       401       none   none      none  none   none    none    none   401     401    401    none   none      none   none     none  none       401  401
authenticate                                         401     401       401       4400   4400      4400  4400   4400    4400    4400   401     401    401    4400   4400      4400   4400     4400  4400       401  401
authenticate, multiplex                              401     401       401       e401   e401      e401  e401   e401    e401    e401   401     401    401    e401   e401      ok     ok       e401  e401       401  401
refused                                              401     401       401       4400   4400      4400  4400   4400    4400    4400   401     401    401    4400   4400      4400   4400     4400  4400       401  401
refused, multiplex                                   401     401       401       4400   4400      4400  4400   4400    4400    4400   401     401    401    4400   4400      4400   4400     4400  4400       401  401
GET /health                                          200     200       200       200    200       200   200    200     200     200    200     200    200    200    200       200    200      200   200        200  200
GET /ready                                           200     200       200       200    200       200   200    200     200     200    200     200    200    200    200       200    200      200   200        200  200
GET /metrics                                         200     200       200       200    200       200   200    200     200     200    200     200    200    200    200       200    200      200   200        200  200
GET /                                                404     404       404       404    404       404   404    404     404     404    404     404    404    404    404       404    404      404   404        404  404
GET /console                                         401     401       401       200    200       200   200    200     200     200    401     401    401    200    200       403    403      403   403        401  401
GET /console/*path                                   401     401       401       200    200       200   200    200     200     200    401     401    401    200    200       403    403      403   403        401  401
GET /asyncapi.json                                   200     200       200       200    200       200   200    200     200     200    200     200    200    200    200       200    200      200   200        200  200
`;

const SECRET = 'secret-of-the-proxy-0123456789';
const OWNER = 'owner';
const TENANT = 'tenant';
const proven = (id: string, tenant: string, more: Record<string, string> = {}) => ({
  'X-Principal-Id': id,
  'X-Tenant-Id': tenant,
  'X-Auth-Proxy-Secret': SECRET,
  ...more,
});
const scopes = (list: string) => proven(OWNER, TENANT, { 'X-Principal-Scopes': list });
const asWorker = { Authorization: `Bearer ${WORKER_TOKEN}` };

const KEY = '0123456789abcdef0123456789abcdef';
const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
/** What tokens of the owner for the task say, except for what a test is about. */
const claims = (taskId: string) => ({
  subject: OWNER,
  tenantId: TENANT,
  attributes: {},
  taskId,
  may: ['read', 'answer', 'cancel'] as const,
  issuedAt: Date.now(),
  expiresAt: Date.now() + 60_000,
});

/** A caller: all ways to act as it, which have to give the same result. `mate*` is `mate` where the tenant may read. */
const CALLERS: Readonly<Record<string, (lease: Held) => readonly Record<string, string>[]>> = {
  nobody: () => [{}],
  'no proof': () => [
    { ...proven(OWNER, TENANT), 'X-Auth-Proxy-Secret': `${SECRET}!` },
    { 'X-Principal-Id': OWNER, 'X-Tenant-Id': TENANT },
    { ...asWorker, Authorization: `Bearer ${SECRET}` },
  ],
  reserved: () =>
    ['system', 'SYSTEM', 'worker:1', '00000000-0000-0000-0000-000000000000'].map((id) =>
      proven(id, TENANT, { 'X-Principal-Scopes': 'tasks:read tasks:write tasks:upload tasks:execute' }),
    ),
  other: () => [proven('other', 'elsewhere')],
  namesake: () => [proven(OWNER, 'elsewhere'), { 'X-Principal-Id': OWNER, 'X-Auth-Proxy-Secret': SECRET }],
  mate: () => [proven('mate', TENANT)],
  'mate*': () => [proven('mate', TENANT)],
  writer: () => [scopes('tasks:write tasks:upload')],
  reader: () => [scopes('tasks:read')],
  // A scope that a proxy grants makes no worker.
  owner: () => [proven(OWNER, TENANT), scopes('tasks:read tasks:write tasks:upload tasks:execute')],
  worker: ({ leaseToken }) => [{ ...asWorker, 'X-Lease-Token': leaseToken }],
  stale: () => [{ ...asWorker, 'X-Lease-Token': 'a-lease-token-that-is-over' }],
  lease: ({ leaseToken }) => [{ 'X-Lease-Token': leaseToken }],
  // Reads all, of every tenant, and does nothing.
  admin: () => [proven('admin', 'elsewhere', { 'X-Principal-Scopes': 'tasks:admin' })],
  // Controls all, of every tenant, and reads none.
  operator: () => [proven('operator', 'elsewhere', { 'X-Principal-Scopes': 'tasks:operate' })],
  // The holders of follow tokens that the owner minted: for the task, to read it, for all tasks, for another task.
  token: ({ tokens }) => [bearer(tokens.task), { ...bearer(tokens.task), ...proven(OWNER, TENANT) }],
  reading: ({ tokens }) => [bearer(tokens.reading)],
  own: ({ tokens }) => [bearer(tokens.own)],
  elsewhere: ({ tokens }) => [bearer(tokens.elsewhere)],
  bad: ({ taskId, tokens }) => [
    bearer(`${tokens.task.slice(0, -1)}${tokens.task.endsWith('A') ? 'B' : 'A'}`),
    bearer(tokens.task.slice(0, -1)),
    bearer(signed(claims(taskId), KEY.replace('0', 'x'))),
    bearer(signed({ ...claims(taskId), expiresAt: Date.now() - 1 }, KEY)),
    // The owner revoked everything that was minted before the test.
    bearer(signed({ ...claims(taskId), issuedAt: revokedAt }, KEY)),
    { Authorization: `Bearer ${tokens.task}, Bearer ${tokens.task}` },
  ],
  two: ({ tokens, leaseToken }) => [
    { ...bearer(tokens.task), ...proven('other', 'elsewhere') },
    { ...bearer(tokens.task), ...proven(OWNER, 'elsewhere') },
    { ...bearer(tokens.own), ...proven('admin', 'elsewhere', { 'X-Principal-Scopes': 'tasks:admin' }) },
    { ...bearer(tokens.own), ...proven('mate', TENANT), 'X-Lease-Token': leaseToken },
  ],
};

/** The members of a call besides its caller. The worker's calls take the lease token from the header above into their body. */
const BODIES: Readonly<Record<string, (lease: Lease & { suspendId?: string }) => object>> = {
  'PUT /api/v1/task-types/:taskType/pause': () => ({}),
  'POST /api/v1/follow-tokens': ({ taskId }) => ({ taskId, may: ['read'] }),
  'PUT /api/v1/schedules/:name': () => ({ cron: '0 0 1 1 *', timeZone: 'UTC', taskType: 'matrix.idle' }),
  'POST /api/v1/tasks/bulk/cancel': () => ({ filter: {}, dryRun: true }),
  'POST /api/v1/tasks/bulk/retry': () => ({ filter: {}, dryRun: true }),
  'POST /api/v1/tasks': () => ({ clientRequestId: uniqueId(), taskType: 'matrix.idle' }),
  'POST /api/v1/tasks/:taskId/cancel': () => ({}),
  'POST /api/v1/tasks/:taskId/retry': () => ({ clientRequestId: uniqueId() }),
  'POST /api/v1/tasks/:taskId/actions': ({ suspendId }) => ({
    clientActionId: uniqueId(),
    suspendId,
    actionType: 'approve',
  }),
  'POST /worker/v1/leases': () => ({ workerId: 'w', taskTypes: ['matrix.none'], maxTasks: 1, waitTimeoutMs: 0 }),
  'POST /worker/v1/heartbeats': ({ taskId, leaseToken }) => ({ leases: [{ taskId, leaseToken }] }),
  'POST /worker/v1/signals': () => ({ workerId: 'w', waitTimeoutMs: 0 }),
  'POST /worker/v1/tasks/:taskId/events': () => ({
    batchSeq: 1,
    events: [{ type: 'TASK_MESSAGE', payload: { message: 'm' } }],
  }),
  'POST /worker/v1/tasks/:taskId/heartbeat': () => ({}),
  'POST /worker/v1/tasks/:taskId/steps': () => ({ batchSeq: 1, key: 'load', result: null }),
  'POST /worker/v1/tasks/:taskId/attachments': () => ({}),
  'POST /worker/v1/tasks/:taskId/suspend': () => question(),
  'POST /worker/v1/tasks/:taskId/complete': () => ({ result: null }),
  'POST /worker/v1/tasks/:taskId/fail': () => ({ code: 'C', message: 'm', retryable: false }),
  'POST /worker/v1/tasks/:taskId/cancelled': () => ({}),
  'POST /worker/v1/tasks/:taskId/release': () => ({}),
};

interface Held extends Lease {
  readonly attachmentId: string;
  readonly suspendId?: string;
  readonly tokens: {
    readonly task: string;
    readonly reading: string;
    readonly own: string;
    readonly elsewhere: string;
  };
}
type Row = { readonly name: string; readonly cells: Readonly<Record<string, string>> };

const [columns = [], ...lines] = MATRIX.trim()
  .split('\n')
  .map((line) => line.trim().split(/ {2,}/));
const rows: readonly Row[] = lines.map(([name = '', ...cells]) => ({
  name,
  cells: Object.fromEntries(columns.map((column, i) => [column, cells[i] ?? ''])),
}));

let database: TestDatabase;
let service: Service;
/** The same, but that the tenant may read. */
let shared: Service;
/** When the owner revoked all of its follow tokens, before it minted those of the tests. */
let revokedAt: number;

beforeAll(async () => {
  database = await createTestDatabase();
  const env = {
    DATABASE_URL: database.appUrl,
    DATA_DIR: await temporaryDirectory(),
    REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
    AUTH_PROXY_SECRET: SECRET,
    FOLLOW_TOKEN_KEYS: KEY,
    ...WITH_WORKERS,
  };
  [service, shared] = await Promise.all([
    startService(env, { lifetime: 'file' }),
    startService({ ...env, OWNERSHIP_POLICY: 'tenant' }, { lifetime: 'file' }),
  ]);
  revokedAt = Date.now();
  const revoked = await fetch(`${service.url}/api/v1/follow-tokens?owner=true`, {
    method: 'DELETE',
    headers: proven(OWNER, TENANT),
  });
  expect(revoked.status).toBe(204);
}, 60_000);

afterAll(async () => {
  await Promise.all([service.stop(), shared.stop()]);
  await database.drop();
});

async function leased(asked: boolean): Promise<Held> {
  const taskType = uniqueId('matrix');
  const form = formOf([
    field('clientRequestId', uniqueId()),
    field('taskType', taskType),
    file('a.txt', 'the bytes', 'text/plain'),
  ]);
  const headers = { ...form.headers, ...proven(OWNER, TENANT) };
  const created = await fetch(`${service.url}/api/v1/tasks`, { method: 'POST', headers, body: form.body });
  expect(created.status).toBe(201);
  const worker = new WorkerClient(service.url);
  const lease = await worker.lease(taskType);
  const [{ attachmentId }] = lease.attachments as [{ attachmentId: string }];
  const held = { ...lease, attachmentId, tokens: await tokensFor(lease.taskId) };
  if (!asked) return held;
  const { suspendId } = (await worker.suspend(lease)).body;
  return { ...held, suspendId };
}

async function tokensFor(taskId: string): Promise<Held['tokens']> {
  const all = ['read', 'answer', 'cancel'];
  const minted = async (body: object) => {
    const answer = await fetch(`${service.url}/api/v1/follow-tokens`, {
      method: 'POST',
      headers: { ...proven(OWNER, TENANT), 'Content-Type': 'application/json' },
      body: JSON.stringify({ seconds: 900, ...body }),
    });
    expect(answer.status).toBe(201);
    return ((await answer.json()) as { token: string }).token;
  };
  another ??= await waiting();
  return {
    task: await minted({ taskId, may: all }),
    reading: await minted({ taskId, may: ['read'] }),
    own: await minted({ owner: true, may: all }),
    elsewhere: await minted({ taskId: another, may: all }),
  };
}

/** A task of the owner to which the tests do nothing. */
let another: string | undefined;

async function waiting(): Promise<string> {
  const created = await fetch(`${service.url}/api/v1/tasks`, {
    method: 'POST',
    headers: { ...proven(OWNER, TENANT), 'Content-Type': 'application/json' },
    body: JSON.stringify({ clientRequestId: uniqueId(), taskType: 'matrix.waiting' }),
  });
  expect(created.status).toBe(201);
  return ((await created.json()) as { taskId: string }).taskId;
}

/** What one caller gets for one row about this task. */
async function outcome(name: string, about: Held, headers: Record<string, string>, { url }: Service): Promise<string> {
  const [frame = '', mode] = name.split(', ');
  if (!name.includes(' /'))
    return mode === undefined ? plainFrame(frame, about, headers, url) : multiplexFrame(frame, about, headers, url);
  const [method = '', path = ''] = name.split(' ');
  const named = path
    // No other row creates tasks of this type.
    .replace(':taskType', 'matrix.paused')
    .replace(':attachmentId', about.attachmentId)
    .replace(':name', uniqueId())
    .replace(':bulkId', about.attachmentId)
    .replace(':streamId', about.attachmentId);
  const address = url + named.replace(':taskId', about.taskId);
  const body = BODIES[name]?.(about);
  if (name.startsWith('DELETE /api/v1/owners')) {
    // An operator would erase what the other tests are about.
    const owner = headers['X-Principal-Scopes'] === 'tasks:operate' ? uniqueId() : OWNER;
    return deleted(`${url}/api/v1/owners/${owner}/tasks?tenant=${TENANT}`, headers);
  }
  if (/^DELETE .*(schedules|task-types|system|tasks\/:taskId)/.test(name)) return deleted(address, headers);
  if (method === 'DELETE') return deleted(`${address}?taskId=${about.taskId}`, headers);
  // A feed without a cursor begins now, and would wait.
  if (path.endsWith('/changes')) return statusOf(`${address}?waitTimeoutMs=0`, headers);
  if (body === undefined) return statusOf(address, headers);
  const leaseToken = path.startsWith('/worker/v1/tasks') && {
    leaseToken: headers['X-Lease-Token'] ?? about.leaseToken,
  };
  const isFile = name === 'POST /worker/v1/tasks/:taskId/attachments';
  const answer = await fetch(address + (isFile ? '?filename=a' : ''), {
    method,
    headers: {
      ...(isFile && { 'X-Lease-Token': about.leaseToken }),
      ...headers,
      'Content-Type': 'application/json',
    },
    body: JSON.stringify({ ...body, ...leaseToken }),
  });
  await answer.arrayBuffer();
  return String(answer.status);
}

async function deleted(address: string, headers: Record<string, string>): Promise<string> {
  return String((await fetch(address, { method: 'DELETE', headers })).status);
}

/** Reads no body, because a stream has no end. */
async function statusOf(address: string, headers: Record<string, string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(address, { headers, agent: false }, (response) => {
      resolve(String(response.statusCode));
      request.destroy();
    });
    request.on('upgrade', (_response, socket) => {
      socket.destroy();
      resolve('101');
    });
    request.on('error', reject);
  });
}

const HANDSHAKE = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
};

function frameText(kind: string, { taskId, tokens }: Held): string {
  const about = kind === 'authenticate' ? { token: tokens.task } : kind.endsWith('_changes') ? {} : { taskId };
  return JSON.stringify({ action: kind, ...about });
}

async function plainFrame(kind: string, about: Held, headers: Record<string, string>, url: string): Promise<string> {
  const socket = openWebSocket(url, headers);
  const reader = recordWebSocket(socket);
  socket.on('open', () => socket.send(frameText(kind, about)));
  const confirmed = reader.waitFor(({ frames }) => frames.length > 0).then(() => 'ok');
  confirmed.catch(() => undefined);
  const closed = reader.ended.then(({ code }) => String(code));
  const first = await Promise.race([confirmed.catch(() => closed), closed]);
  socket.terminate();
  return first;
}

async function multiplexFrame(
  kind: string,
  about: Held,
  headers: Record<string, string>,
  url: string,
): Promise<string> {
  const refused = await statusOf(`${url}/api/v1/tasks/ws`, { ...headers, ...HANDSHAKE });
  if (refused !== '101') return refused;
  const client = await MultiplexClient.open(url, headers);
  client.send(frameText(kind, about));
  try {
    const { type, raw } = await client.frame(() => true);
    const { code } = JSON.parse(raw) as { code?: string };
    return type !== 'ERROR'
      ? 'ok'
      : ({ TASK_NOT_FOUND: 'e404', ACCESS_DENIED: 'e403', NOT_SUBSCRIBED: 'none', AUTHENTICATION_ERROR: 'e401' }[
          code ?? ''
        ] ?? raw);
  } catch (error) {
    if (client.closed === undefined) throw error;
    return String(client.closed.code);
  } finally {
    client.leave();
  }
}

describe('The matrix', () => {
  let app: NestExpressApplication;

  beforeAll(async () => {
    const config = readConfig({
      DATABASE_URL: database.appUrl,
      DATA_DIR: await temporaryDirectory(),
      LOG_LEVEL: 'silent',
    });
    const parts = {
      database: new Database(createPool(database.appUrl, { max: 1 })),
      host: { modules: [], hosted: new Set<never>() },
    };
    app = await createApplication({ config, ...parts, logger: createLogger(config.observability) });
  });

  afterAll(() => app.close());

  it('has a row for every route and every kind of frame, and no other', () => {
    const frames = framesOf(app).flatMap((kind) => [kind, `${kind}, multiplex`]);
    const declared = [...handlersOf(app).map(nameOf), ...frames];
    expect(rows.map(({ name }) => name).sort()).toEqual(declared.sort());
  });

  it('has a cell for every caller', () => {
    expect(columns).toEqual(Object.keys(CALLERS));
    for (const { name, cells } of rows)
      expect({ name, cells }).toEqual({ name, cells: expect.not.objectContaining({ lease: '' }) });
  });
});

describe('Everybody gets what the matrix says from', () => {
  const isRefusal = (cell: string) => /^(e?4\d\d|4\d\d\d)$/.test(cell);

  it.each(rows.map((row) => [row.name, row] as const))('%s', async (name, { cells }) => {
    const asked = name.endsWith('/actions');
    let about = await leased(asked);
    const found: Record<string, string> = {};
    // Refusals first, all on one task: the later accepted calls would notice a change.
    const inOrder = [...columns].sort((a, b) => Number(isRefusal(cells[b] ?? '')) - Number(isRefusal(cells[a] ?? '')));
    for (const column of inOrder) {
      const ways = CALLERS[column]?.(about) ?? [];
      const outcomes = [];
      for (let i = 0; i < ways.length; i += 1) {
        const headers = CALLERS[column]?.(about)[i] ?? {};
        outcomes.push(await outcome(name, about, headers, column === 'mate*' ? shared : service));
        if (name.startsWith('POST') && name.includes(':taskId') && !isRefusal(outcomes.at(-1) ?? ''))
          about = await leased(asked);
      }
      found[column] = [...new Set(outcomes)].join(' or ');
    }
    expect(found).toEqual(cells);
  });
});

describe('A task of somebody else looks like one that does not exist', () => {
  const missing = '01890000-0000-7000-8000-000000000000';
  const stranger = proven('other', 'elsewhere');
  const mate = proven('mate', TENANT);
  const scopedRows = rows.filter(({ name }) => name.includes(' /api/') && name.includes(':taskId'));

  /** All of an answer except the parts that may differ: time, correlation id, and the requested id. */
  async function seen(url: string, name: string, about: Held, headers: Record<string, string>) {
    const [method = '', path = ''] = name.split(' ');
    const address = url + path.replace(':taskId', about.taskId).replace(':attachmentId', about.attachmentId);
    const body = BODIES[name]?.(about);
    const answer = await fetch(address, {
      method,
      headers: { ...headers, 'Content-Type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    const { timestamp, correlationId } = JSON.parse(text) as { timestamp: string; correlationId: string };
    const plain = (value: string) =>
      value.replaceAll(timestamp, 'WHEN').replaceAll(correlationId, 'WHICH').replaceAll(about.taskId, 'TASK');
    const sent = [...answer.headers]
      .filter(([header]) => header !== 'date')
      .map(([header, value]) => [header, plain(value)]);
    return { status: answer.status, headers: sent, text: plain(text) };
  }

  it.each(scopedRows.map(({ name }) => name))('on %s', async (name) => {
    const about = await leased(name.endsWith('/actions'));
    for (const [{ url }, headers] of [
      [service, stranger],
      [service, mate],
      [shared, stranger],
    ] as const) {
      const foreign = await seen(url, name, about, headers);
      expect(foreign.status).toBe(404);
      expect(foreign).toEqual(await seen(url, name, { ...about, taskId: missing }, headers));
    }
  });

  it('over the WebSocket', async () => {
    const about = await leased(false);
    const ends = [];
    for (const taskId of [about.taskId, missing]) {
      const socket = openWebSocket(service.url, stranger);
      const reader = recordWebSocket(socket);
      socket.on('open', () => socket.send(frameText('subscribe', { ...about, taskId })));
      const end = await reader.ended;
      ends.push({ end, frames: reader.frames });
    }
    expect(ends[0]).toMatchObject({ end: { code: 4404 }, frames: [] });
    expect(ends[0]).toEqual(ends[1]);
  });

  it('over the multiplexed WebSocket', async () => {
    const about = await leased(false);
    const client = await MultiplexClient.open(service.url, stranger);
    const said = [];
    for (const taskId of [about.taskId, missing]) {
      client.subscribe(taskId);
      const { raw } = await client.frame((frame) => frame.taskId === taskId);
      said.push(raw.replaceAll(taskId, 'TASK'));
    }
    client.leave();
    expect(said[0]).toContain('TASK_NOT_FOUND');
    expect(said[0]).toBe(said[1]);
  });

  it('for a worker without its lease', async () => {
    const about = await leased(false);
    const worker = new WorkerClient(service.url);
    const answers = [];
    for (const taskId of [about.taskId, missing, 'no-uuid']) {
      const { status, body } = await worker.complete({ taskId, leaseToken: 'another' });
      answers.push({ status, body: { ...body, timestamp: '', correlationId: '' } });
    }
    expect(answers[0]).toMatchObject({ status: 409, body: { code: 'LEASE_LOST' } });
    expect(answers).toEqual([answers[0], answers[0], answers[0]]);
  });
});
