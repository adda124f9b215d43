import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { WebSocket } from 'ws';
import { uniqueId } from '../support/client.js';
import { followSse, followWebSocket, openWebSocket, recordWebSocket } from '../support/follow.js';
import { field, file, formOf } from '../support/form.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { type S3Server, startS3Server } from '../support/s3-server.js';
import { eventually, runToExit, type Service, startService } from '../support/service.js';
import { type Lease, message, output, question, WorkerClient } from '../support/worker-client.js';

const canaries = new Map<string, string>();

/** A text that occurs nowhere else. Where it appears, code that should not put it there has done so. */
function canary(what: string): string {
  const text = canaries.get(what) ?? `canary${randomBytes(16).toString('hex')}`;
  canaries.set(what, text);
  return text;
}

const SECRETS = {
  AUTH_PROXY_SECRET: canary('AUTH_PROXY_SECRET'),
  WORKER_TOKENS: canary('WORKER_TOKENS'),
  FOLLOW_TOKEN_KEYS: canary('FOLLOW_TOKEN_KEYS'),
  AWS_ACCESS_KEY_ID: canary('AWS_ACCESS_KEY_ID'),
  AWS_SECRET_ACCESS_KEY: canary('AWS_SECRET_ACCESS_KEY'),
};

/** Uses all features and causes all refusals of the service, with a canary in every possible text. */
describe('What the service writes', () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let s3: S3Server;
  let service: Service;
  /** All that it answered. */
  const answers: string[] = [];
  let metrics = '';

  beforeAll(async () => {
    [database, redis, s3] = await Promise.all([createTestDatabase(), startRedis(), startS3Server()]);
    await redis.cli('CONFIG', 'SET', 'requirepass', canary('REDIS_URL'));
    service = await startService(
      {
        ...SECRETS,
        DATABASE_URL: database.appUrl.replace('@/', `:${canary('DATABASE_URL')}@/`),
        REDIS_URL: redis.url.replace('//', `//:${canary('REDIS_URL')}@`),
        EXECUTOR: 'inline,worker',
        ATTACHMENT_STORE: 's3',
        S3_BUCKET: s3.bucket,
        S3_ENDPOINT: s3.endpoint,
        S3_REGION: s3.region,
        S3_FORCE_PATH_STYLE: 'true',
        LOG_LEVEL: 'trace',
        OTEL_EXPORTER: 'console',
        NODE_OPTIONS: '--import ./dist/telemetry/register.js',
      },
      { lifetime: 'file' },
    );
    await everyFeature();
    await everyRefusal();
    await everyFailure();
    metrics = await (await fetch(`${service.url}/metrics`)).text();
    await service.stop();
  }, 300_000);

  afterAll(() => database.drop());

  const headers = { 'X-Principal-Id': 'alice', 'X-Auth-Proxy-Secret': SECRETS.AUTH_PROXY_SECRET };
  const json = { ...headers, 'Content-Type': 'application/json' };

  async function call(
    method: string,
    path: string,
    body?: unknown,
    more: Record<string, string> = {},
  ): Promise<Record<string, unknown>> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const answer = await fetch(service.url + path, {
      method,
      headers: { ...json, ...more },
      ...(body !== undefined && { body: text }),
    });
    const said = await answer.text();
    answers.push(said);
    return said.startsWith('{') ? (JSON.parse(said) as Record<string, unknown>) : {};
  }

  async function create(taskType: string, input: object): Promise<string> {
    const metadata = { note: canary('metadata') };
    return String(
      (await call('POST', '/api/v1/tasks', { clientRequestId: uniqueId(), taskType, input, metadata }))['taskId'],
    );
  }

  async function upload(taskType: string, name = canary('file name')): Promise<Record<string, unknown>> {
    const form = formOf([
      field('clientRequestId', uniqueId()),
      field('taskType', taskType),
      field('input', JSON.stringify({ text: canary('form field') })),
      file(`${name}.txt`, canary('file content')),
    ]);
    const answer = await fetch(`${service.url}/api/v1/tasks`, {
      method: 'POST',
      headers: { ...headers, ...form.headers },
      body: form.body,
    });
    const said = await answer.text();
    answers.push(said);
    return JSON.parse(said) as Record<string, unknown>;
  }

  async function everyFeature(): Promise<void> {
    const echoed = await create('demo.echo', { text: canary('input') });
    await followSse(service.url, echoed, null, headers).ended;
    await followWebSocket(service.url, echoed, null, headers).ended;
    const failed = await create('demo.fail', { message: canary('failure of a handler') });
    await followSse(service.url, failed, null, headers).ended;
    await call('GET', `/api/v1/tasks/${failed}`);
    await call('GET', `/api/v1/tasks/${echoed}/events`);
    await call('GET', '/api/v1/tasks');
    const slept = await create('demo.sleep', { ms: 600_000 });
    await call('POST', `/api/v1/tasks/${slept}/cancel`, { reason: canary('reason of a cancellation') });

    const taskType = uniqueId('canaries');
    const { taskId } = await upload(taskType);
    const worker = new WorkerClient(service.url, 'worker', SECRETS.WORKER_TOKENS);
    const lease = await worker.lease(taskType);
    canaries.set('lease token', lease.leaseToken);
    const [{ url }] = lease.attachments as [{ url: string }];
    await fetch(service.url + url, { headers: { 'X-Lease-Token': lease.leaseToken } }).then((answer) => answer.text());
    await worker.events(lease, 1, [message(canary('message')), output(canary('output'))]);
    await worker.heartbeat(lease);
    const { suspendId } = (await worker.suspend(lease, question({ interaction: { text: canary('question') } }))).body;
    const action = {
      clientActionId: uniqueId(),
      suspendId,
      actionType: 'approve',
      payload: { text: canary('action') },
    };
    await call('POST', `/api/v1/tasks/${String(taskId)}/actions`, action);
    const again = await worker.lease(taskType);
    canaries.set('second lease token', again.leaseToken);
    await worker.complete(again, { text: canary('result') });
    await call('GET', `/api/v1/tasks/${String(taskId)}`);
    await upload(taskType);
    const last: Lease = await worker.lease(taskType);
    await worker.fail(last, { retryable: false, code: 'BROKEN', message: canary('failure of a worker') });
    await everyUseOfTokens();
  }

  /** Good, bad and ended follow tokens, in every place where one may be and in some where none may. */
  async function everyUseOfTokens(): Promise<void> {
    const taskId = await create('demo.echo', { text: canary('input of a followed task') });
    const mint = async (what: string, body: object) => {
      const { token } = await call('POST', '/api/v1/follow-tokens', { may: ['read', 'cancel'], ...body });
      // Its parts are as secret as the whole.
      const [, claims = '', signature = ''] = String(token).split('.');
      canaries.set(`claims of ${what}`, claims);
      canaries.set(`signature of ${what}`, signature);
      return String(token);
    };
    const token = await mint('a follow token', { taskId });
    const bad = `${token.slice(0, -40)}${canary('end of a bad token').slice(0, 40)}`;
    const revoked = await mint('a revoked token', { owner: true });
    await call('DELETE', '/api/v1/follow-tokens?owner=true');
    const stream = `/api/v1/tasks/${taskId}/events/stream`;
    for (const one of [await mint('a second token', { taskId }), bad, revoked]) {
      const bearer = { Authorization: `Bearer ${one}` };
      const holder = (path: string, method = 'GET') =>
        fetch(service.url + path, { method, headers: bearer, redirect: 'manual' }).then((answer) => answer.text());
      await holder(`/api/v1/tasks/${taskId}`);
      await holder(`/api/v1/tasks/${taskId}/cancel`, 'POST');
      await holder('/api/v1/tasks', 'POST');
      await holder('/worker/v1');
      await holder('/nowhere');
      for (const path of [stream, '/api/v1/tasks', '/nowhere', '/health', '/api/v1/tasks/%zz']) {
        const said = await fetch(`${service.url}${path}?token=${one}`).then((answer) => answer.text());
        if (path !== stream) answers.push(said);
      }
      for (const mode of ['taskbridge.v1', 'taskbridge.multiplex.v1']) {
        const address = `${service.url.replace('http', 'ws')}/api/v1/tasks/ws?token=${one}`;
        const socket = new WebSocket(address, [mode, `taskbridge.token.${one}`]);
        const reader = recordWebSocket(socket);
        socket.on('open', () => {
          socket.send(JSON.stringify({ action: 'authenticate', token: one }));
          socket.send(JSON.stringify({ action: 'subscribe', taskId, lastEventId: one }));
          socket.send(JSON.stringify({ action: one }));
        });
        await reader.ended;
      }
    }
  }

  async function everyRefusal(): Promise<void> {
    const text = canary('refused body');
    await call('POST', '/api/v1/tasks', `{"${text}`);
    await call('POST', '/api/v1/tasks', { [text]: text, taskType: text.repeat(9), input: text });
    await call('POST', '/api/v1/tasks', {
      clientRequestId: 'a',
      taskType: 'demo.echo',
      input: { text: canary('first of two') },
    });
    await call('POST', '/api/v1/tasks', {
      clientRequestId: 'a',
      taskType: 'demo.echo',
      input: { text: canary('second of two') },
    });
    await call('POST', '/api/v1/tasks', text, { 'Content-Type': `text/${text}` });
    await call('POST', '/api/v1/tasks', { input: text.repeat(50_000) });
    await call('GET', `/api/v1/tasks?cursor=${canary('query')}`);
    await call('GET', `/api/v1/tasks?${canary('name in a query')}=1`);
    await call('GET', '/api/v1/tasks', undefined, { 'X-Auth-Proxy-Secret': canary('secret that is wrong') });
    await call('GET', '/api/v1/tasks', undefined, { 'X-Principal-Id': `${canary('principal that is malformed')} x` });
    await call('GET', '/api/v1/tasks', undefined, { 'X-Principal-Scopes': `{${canary('scopes that are malformed')}}` });
    await call('GET', '/api/v1/tasks', undefined, {
      Cookie: `session=${canary('cookie')}`,
      'X-Custom': canary('header'),
    });
    await upload('demo.echo', `../../${canary('file name')}\u202e`);
    await new WorkerClient(service.url, 'worker', canary('worker token that is wrong').repeat(2)).claim({
      taskTypes: ['a'],
    });
    const worker = new WorkerClient(service.url, 'worker', SECRETS.WORKER_TOKENS);
    const lost = { taskId: '01890000-0000-7000-8000-000000000000', leaseToken: canary('lease token that is wrong') };
    await worker.complete(lost, { text: canary('refused result') });
    await worker.events(lost, 1, [{ type: canary('type of an event'), payload: { text: canary('refused event') } }]);
    for (const frame of [
      `{"${canary('frame')}`,
      JSON.stringify({ action: canary('frame'), taskId: canary('frame') }),
    ]) {
      const socket = openWebSocket(service.url, headers);
      const reader = recordWebSocket(socket);
      socket.on('open', () => socket.send(frame));
      await reader.ended;
    }
    const multiplexed = new WebSocket(
      `${service.url.replace('http', 'ws')}/api/v1/tasks/ws?a=${canary('query of an upgrade')}`,
      [canary('subprotocol')],
      { headers },
    );
    multiplexed.on('error', () => undefined);
    await new Promise((resolve) => multiplexed.once('close', resolve));
  }

  /** The dependencies fail: errors of drivers and of their connections contain more than ours. */
  async function everyFailure(): Promise<void> {
    await s3.stop();
    await upload('demo.echo');
    await redis.kill();
    await create('demo.echo', { text: canary('input while Redis is gone') });
    const superuser = new pg.Client({ connectionString: database.superuserUrl });
    await superuser.connect();
    await superuser.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'taskbridge_app' AND datname = current_database()",
    );
    await superuser.query('ALTER TABLE taskbridge.proj_tasks RENAME TO proj_tasks_gone');
    const refused = {
      clientRequestId: uniqueId(),
      taskType: 'demo.echo',
      input: { text: canary('input while a table is gone') },
    };
    // The first ones may meet the connections that were ended.
    await eventually(
      'an error of the database is answered',
      async () => (await call('POST', '/api/v1/tasks', refused))['code'] === 'INTERNAL_ERROR',
    );
    await superuser.query('ALTER TABLE taskbridge.proj_tasks_gone RENAME TO proj_tasks');
    await superuser.end();
    await eventually(
      'the service has recovered',
      async () => (await call('GET', '/api/v1/tasks'))['items'] !== undefined,
    );
  }

  const written = () => service.stdout() + service.stderr() + metrics;
  /** The spellings of a text: as it is, in a URL, in a Basic header, and with the escapes of JSON. */
  const shapesOf = (text: string) => [
    text,
    encodeURIComponent(text),
    Buffer.from(text).toString('base64').replace(/=+$/, ''),
  ];
  const found = (texts: Iterable<[string, string]>, place: string) =>
    [...texts].flatMap(([what, text]) => (shapesOf(text).some((shape) => place.includes(shape)) ? [what] : []));

  it('is logs, traces and metrics of all of that', () => {
    expect(service.stdout()).toContain('"msg":"service.listening"');
    expect(service.stdout()).toMatch(/"traceId"|"trace_id"/);
    expect(metrics).toContain('taskbridge_');
    expect(answers.some((answer) => answer.includes(canary('input')))).toBe(true);
    const codes = new Set(answers.flatMap((answer) => /"code":"([A-Z_]+)","message"/.exec(answer)?.[1] ?? []));
    const expected = [
      'INVALID_REQUEST',
      'AUTHENTICATION_ERROR',
      'INTERNAL_ERROR',
      'IDEMPOTENCY_CONFLICT',
      'PAYLOAD_TOO_LARGE',
    ];
    expect([...codes]).toEqual(expect.arrayContaining([...expected, 'SERVICE_UNAVAILABLE', 'INVALID_CURSOR']));
  });

  it('has no secret, no token, no payload and no name of a file in it', () => {
    expect(found(canaries, written())).toEqual([]);
  });

  it('and what it answers has no secret in it', () => {
    expect(
      found(
        Object.entries({ ...SECRETS, database: canary('DATABASE_URL'), redis: canary('REDIS_URL') }),
        answers.join('\n'),
      ),
    ).toEqual([]);
  });

  it('has no secret in it either when it cannot start', async () => {
    const gone = { REDIS_URL: `redis://:${canary('REDIS_URL')}@127.0.0.1:1`, BOOT_WAIT_SECONDS: '0', ...SECRETS };
    const refused = await runToExit({
      ...gone,
      DATABASE_URL: `postgres://somebody:${canary('DATABASE_URL')}@127.0.0.1:1/db`,
    });
    expect(refused.code).not.toBe(0);
    expect(found(canaries, refused.stdout + refused.stderr)).toEqual([]);
  });
});
