import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { seededRandom } from '../support/follow.js';
import { field, file, formOf } from '../support/form.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { S3_CREDENTIALS, startS3Server } from '../support/s3-server.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { WITH_WORKERS, WORKER_TOKEN } from '../support/worker-client.js';

/** Clients of each route. */
const CLIENTS = 50;
const LARGE = 4 * 1024 * 1024;

interface Line {
  readonly level: string;
  readonly msg: string;
  readonly status?: number;
  readonly route?: string | null;
}

let database: TestDatabase;
let service: Service;
let client: Client;
let taskId: string;
let running: string;
let files: { readonly small: string; readonly large: string };

beforeAll(async () => {
  database = await createTestDatabase();
  const env = { DATABASE_URL: database.appUrl, ...WITH_WORKERS, DATA_DIR: await temporaryDirectory() };
  service = await startService({ ...env, STREAMS_PER_PRINCIPAL: '0', LOG_LEVEL: 'debug' }, { lifetime: 'file' });
  client = newPrincipal(service.url);
  taskId = await upload(client, [Buffer.from('small'), Buffer.alloc(LARGE, 7)]);
  const { attachments } = (await client.snapshot(taskId)).body as unknown as {
    attachments: { attachmentId: string }[];
  };
  const [small = '', large = ''] = attachments.map(({ attachmentId }) => attachmentId);
  files = { small, large };
  const created = await client.create({ clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 600_000 } });
  running = created.body.taskId;
}, 120_000);

afterAll(async () => {
  await service.stop();
  await database.drop();
});

async function upload(owner: Client, contents: readonly Buffer[]): Promise<string> {
  const parts = contents.map((bytes, n) => file(`${n}.bin`, bytes, 'application/octet-stream'));
  const form = formOf([field('clientRequestId', uniqueId()), field('taskType', 'demo.attachments'), ...parts]);
  const created = await owner.request<{ taskId: string }>('POST', '/api/v1/tasks', form);
  expect(created.status).toBe(201);
  return created.body.taskId;
}

const JSON_TYPE = { 'Content-Type': 'application/json' };
const WORKER = { ...JSON_TYPE, Authorization: `Bearer ${WORKER_TOKEN}` };
const UPGRADE = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

/** A masked frame: the mask is of zeros. */
function subscribeTo(followed: string): Buffer {
  const frame = Buffer.from(JSON.stringify({ action: 'subscribe', taskId: followed }));
  return Buffer.concat([Buffer.from([0x81, 0x80 | frame.length, 0, 0, 0, 0]), frame]);
}

type Request = readonly [line: string, headers?: Readonly<Record<string, string>>, body?: string | Buffer];

const REQUESTS: readonly (readonly [what: string, request: () => Request])[] = [
  ['a download', () => [`GET /api/v1/tasks/${taskId}/attachments/${files.small}`]],
  ['a large download', () => [`GET /api/v1/tasks/${taskId}/attachments/${files.large}`]],
  ['a range', () => [`GET /api/v1/tasks/${taskId}/attachments/${files.large}`, { Range: 'bytes=10-2000000' }]],
  ['an event stream', () => [`GET /api/v1/tasks/${running}/events/stream`]],
  ['an event stream of the past', () => [`GET /api/v1/tasks/${taskId}/events/stream`]],
  ['a long-poll', () => [`GET /api/v1/tasks/${running}/events?afterEventId=1&waitTimeoutMs=60000`]],
  ['a page of events', () => [`GET /api/v1/tasks/${taskId}/events`]],
  ['a snapshot', () => [`GET /api/v1/tasks/${taskId}`]],
  ['a list', () => ['GET /api/v1/tasks']],
  [
    'a create',
    () => ['POST /api/v1/tasks', JSON_TYPE, JSON.stringify({ clientRequestId: uniqueId(), taskType: 'demo.echo' })],
  ],
  [
    'a create with a large body',
    () => [
      'POST /api/v1/tasks',
      JSON_TYPE,
      JSON.stringify({ clientRequestId: uniqueId(), taskType: 'demo.echo', input: { text: 'x'.repeat(900_000) } }),
    ],
  ],
  [
    'an upload',
    () => {
      const parts = [field('clientRequestId', uniqueId()), field('taskType', 'demo.attachments')];
      const form = formOf([...parts, file('a.bin', Buffer.alloc(LARGE, 1), 'application/octet-stream')]);
      return ['POST /api/v1/tasks', form.headers, form.body];
    },
  ],
  ['a cancel', () => [`POST /api/v1/tasks/${taskId}/cancel`]],
  [
    'an action',
    () => [
      `POST /api/v1/tasks/${running}/actions`,
      JSON_TYPE,
      JSON.stringify({ clientActionId: uniqueId(), suspendId: '1', actionType: 'x' }),
    ],
  ],
  [
    'a claim',
    () => [
      'POST /worker/v1/leases',
      WORKER,
      JSON.stringify({ workerId: 'w', taskTypes: ['aborted'], maxTasks: 1, waitTimeoutMs: 30_000 }),
    ],
  ],
  ['a WebSocket', () => ['GET /api/v1/tasks/ws', UPGRADE]],
  ['a handshake that is malformed', () => ['GET /api/v1/tasks/ws', { ...UPGRADE, 'Sec-WebSocket-Key': 'x' }]],
  ['a WebSocket that has subscribed', () => ['GET /api/v1/tasks/ws', UPGRADE, subscribeTo(running)]],
  ['a WebSocket that reads the past', () => ['GET /api/v1/tasks/ws', UPGRADE, subscribeTo(taskId)]],
  ['a WebSocket that sends what is no frame', () => ['GET /api/v1/tasks/ws', UPGRADE, Buffer.alloc(500, 255)]],
  ['metrics', () => ['GET /metrics']],
  ['readiness', () => ['GET /ready']],
  ['the documentation', () => ['GET /docs/swagger-ui-bundle.js']],
  ['the description', () => ['GET /openapi.json']],
  ['nothing', () => ['GET /nothing/there']],
  ['a tunnel', () => ['CONNECT a:1']],
  ['what is no HTTP', () => ['GET /a b']],
];

function bytesOf([line, headers = {}, body = '']: Request): Buffer {
  // What comes behind an upgrade is no body.
  const length = 'Upgrade' in headers ? 0 : Buffer.byteLength(body);
  const all = { Host: 'localhost', ...client.headers, ...(length > 0 && { 'Content-Length': length }), ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return Buffer.concat([Buffer.from([`${line} HTTP/1.1`, ...lines, '', ''].join('\r\n')), Buffer.from(body)]);
}

/** The lines that the service wrote while `work` was done and after. */
async function linesOf(work: () => Promise<void>): Promise<() => readonly Line[]> {
  const from = service.stdout().length;
  await work();
  return () =>
    service
      .stdout()
      .slice(from)
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Line);
}

const isAccess = ({ msg }: Line) => msg === 'http_request.aborted' || msg === 'http_request.completed';

/** Files of the store that the service has open. */
async function openFiles(pid: number): Promise<number> {
  const targets = await Promise.all(
    (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')),
  );
  return targets.filter((path) => /\/[0-9a-f-]{36}(\.part)?$/.test(path)).length;
}

describe('A client that hangs up', () => {
  it.each(REQUESTS)('within %s is no fault of the service, wherever it does', async (_what, requestOf) => {
    const random = seededRandom(7);
    const lines = await linesOf(async () => {
      for (let n = 0; n < CLIENTS; n += 1) await hangUp(bytesOf(requestOf()), random, n);
    });
    await isNoFault(lines);
  });

  it('in the moment in which its file is sent is no fault of the service, however often it does', async () => {
    const random = seededRandom(8);
    const request = bytesOf([`GET /api/v1/tasks/${taskId}/attachments/${files.small}`]);
    const lines = await linesOf(async () => {
      for (let n = 0; n < 600; n += 2) {
        // Near the answer of this machine, which a client that reads it would have in full.
        await Promise.all([n, n + 1].map((i) => hangUp(request, random, 3 * i + 1, 8)));
      }
    });
    await isNoFault(lines);
  });

  it('behind two answers on one connection is no fault of the service, with and without its turn', async () => {
    const random = seededRandom(10);
    const request = bytesOf([`GET /api/v1/tasks/${taskId}/attachments/${files.large}`]);
    const stream = bytesOf([`GET /api/v1/tasks/${running}/events/stream`]);
    const lines = await linesOf(async () => {
      for (let n = 0; n < 40; n += 1) {
        await hangUp(Buffer.concat([n % 4 < 2 ? request : stream, request]), random, 3 * n + 1, 100);
      }
    });
    await isNoFault(lines);
  });

  it('while its files are taken leaves no upload that goes on', async () => {
    const random = seededRandom(9);
    const lines = await linesOf(async () => {
      for (let n = 0; n < 120; n += 1) {
        const parts = [field('clientRequestId', uniqueId()), field('taskType', 'demo.attachments')];
        const form = formOf([...parts, file('a.bin', Buffer.alloc(1024 * 1024, 1), 'application/octet-stream')]);
        await hangUp(bytesOf(['POST /api/v1/tasks', form.headers, form.body]), random, 3 * n + 1, 30);
      }
    });
    await isNoFault(lines);
  });

  it('at once after it asked for a file is an aborted request, and nothing more', async () => {
    const request = bytesOf([`GET /api/v1/tasks/${taskId}/attachments/${files.large}`]);
    const lines = await linesOf(async () => {
      for (let n = 0; n < CLIENTS; n += 1) {
        const socket = await opened();
        socket.write(request);
        socket.resetAndDestroy();
        await once(socket, 'close');
      }
    });
    await settled();
    const access = lines().filter(isAccess);
    expect(access.filter(({ msg, level }) => msg !== 'http_request.aborted' || level !== 'info')).toEqual([]);
    // Some were gone before the service read what they asked.
    expect(access.filter(({ status }) => status === 499).length).toBeGreaterThan(0);
    const rest = lines().filter((line) => !isAccess(line) && !/^read_attachment\.(start|success)$/.test(line.msg));
    expect(rest).toEqual([]);
  });

  it('leaves no file open', async () => {
    await eventually('all are closed', async () => (await openFiles(service.pid)) === 0);
  });

  it('leaves no stream open', async () => {
    await eventually('none is active', async () => {
      const text = await (await fetch(`${service.url}/metrics`)).text();
      return [...text.matchAll(/^taskbridge_streams_active\{.*\} (\d+)$/gm)].every(([, open]) => open === '0');
    });
  });

  const opened = async (): Promise<Socket> => {
    const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  };

  /** The log has no fault, and no use-case without its end. */
  async function isNoFault(lines: () => readonly Line[]): Promise<void> {
    await settled();
    expect(lines().filter(({ level }) => level !== 'info' && level !== 'debug')).toEqual([]);
    expect(lines().filter(({ status = 0 }) => status >= 500)).toEqual([]);
    expect(service.stderr()).toBe('');
    await eventually('whatever began is over', () => {
      const open = new Map<string, number>();
      for (const { msg } of lines()) {
        const [, name = '', what] = /^(\w+)\.(start|success|denied|failed)$/.exec(msg) ?? [];
        if (what !== undefined) open.set(name, (open.get(name) ?? 0) + (what === 'start' ? 1 : -1));
      }
      return [...open.values()].every((count) => count <= 0);
    });
  }

  /** Hangs up by a reset or by an end, after part of the request, all of it, or part of the answer. */
  async function hangUp(request: Buffer, random: () => number, n: number, withinMs = 12): Promise<void> {
    const socket = await opened();
    const isWhole = n % 3 !== 0;
    socket.write(request.subarray(0, isWhole ? undefined : Math.floor(random() * request.length)));
    if (n % 3 === 2) socket.pause();
    await delay(random() * withinMs);
    const closed = once(socket, 'close');
    if (n % 2 === 0) socket.resetAndDestroy();
    else socket.destroy();
    await closed;
  }

  /** All earlier work is over: this request gets its answer only after the requests before it. */
  async function settled(): Promise<void> {
    let [before, now] = ['', service.stdout()];
    while (now !== before) {
      await delay(300);
      [before, now] = [now, service.stdout()];
    }
  }
});

describe('A fault of the service while the client is there', () => {
  it('is a line of its own, and the client sees that the file is not whole', async () => {
    const s3 = await startS3Server();
    const own = await startService({
      DATABASE_URL: database.appUrl,
      ATTACHMENT_STORE: 's3',
      S3_BUCKET: s3.bucket,
      S3_ENDPOINT: s3.endpoint,
      S3_REGION: s3.region,
      S3_FORCE_PATH_STYLE: 'true',
      ...S3_CREDENTIALS,
    });
    const owner = newPrincipal(own.url);
    const id = await upload(owner, [Buffer.alloc(2 * LARGE, 7)]);
    const { attachments } = (await owner.snapshot(id)).body as unknown as { attachments: { attachmentId: string }[] };
    const answer = await fetch(`${own.url}/api/v1/tasks/${id}/attachments/${attachments[0]?.attachmentId}`, {
      headers: owner.headers,
    });
    expect(answer.status).toBe(200);
    // The client has not read it, so most of it is still in the store.
    s3.cut();
    await expect(answer.arrayBuffer()).rejects.toThrow();
    await eventually('it is logged', async () => own.stdout().includes('"http_request.failed"'));
    expect(own.stdout()).toMatch(/"level":"error".*"msg":"http_request.failed"/);
    await own.stop();
    await s3.stop();
  }, 60_000);
});
