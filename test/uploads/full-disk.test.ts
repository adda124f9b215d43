import { execFileSync } from 'node:child_process';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Answer, type Client, type Created, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { field, file, formOf } from '../support/form.js';
import { Metrics } from '../support/metrics.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { S3_CREDENTIALS, startS3Server } from '../support/s3-server.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';

interface Line {
  readonly level: string;
  readonly msg: string;
  readonly operation?: string;
  readonly probe?: string;
  readonly err?: { readonly message: string; readonly cause?: { readonly code?: string } };
}

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(() => database.drop());

const send = (client: Client, bytes: Buffer): Promise<Answer<Created>> => {
  const { headers, body } = formOf([
    field('clientRequestId', uniqueId()),
    field('taskType', 'demo.attachments'),
    file('a.bin', bytes, 'application/octet-stream'),
  ]);
  return client.request('POST', '/api/v1/tasks', { headers, body });
};

const linesOf = (service: Service, msg: string): Line[] =>
  service
    .stdout()
    .split('\n')
    .filter((line) => line.includes(`"msg":"${msg}"`))
    .map((line) => JSON.parse(line) as Line);

const nonEmpty = (lines: readonly Line[]) => lines.length > 0 && lines;

const ready = async (service: Service) => {
  const response = await fetch(`${service.url}/ready`);
  return [response.status, await response.json()] as const;
};

const withStore = (status: string) =>
  expect.objectContaining({ details: expect.objectContaining({ attachments: { status } }) });

describe('A service whose attachments are on a full disk', () => {
  let directory: string;
  let service: Service;
  let client: Client;

  /** A real file system of one mebibyte. Needs root, as `mount` does. */
  const mount = (...args: string[]) => execFileSync(args[0] === '-t' ? 'mount' : 'umount', args, { stdio: 'pipe' });

  beforeAll(async () => {
    const dataDirectory = await temporaryDirectory();
    directory = join(dataDirectory, 'attachments');
    await mkdir(directory);
    mount('-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory);
    service = await startService({ DATABASE_URL: database.appUrl, DATA_DIR: dataDirectory }, { lifetime: 'file' });
    client = newPrincipal(service.url);
  });

  afterAll(async () => {
    await service.stop();
    mount(directory);
  });

  it('refuses a file with 503 in the one shape, tells the operator once, and recovers when there is room', async () => {
    expect(await ready(service)).toEqual([200, withStore('ready')]);
    const filling = join(directory, 'of-somebody-else');
    await writeFile(filling, Buffer.alloc(1024 * 1024)).catch(({ code }: { code: string }) =>
      expect(code).toBe('ENOSPC'),
    );

    for (let i = 0; i < 3; i += 1) {
      const answer = await send(client, Buffer.alloc(200_000, 1));
      const { message } = expectError(answer, 503, 'SERVICE_UNAVAILABLE');
      expect([message, answer.headers.get('retry-after')]).toEqual(['The attachment store has no room.', '5']);
    }
    // Tasks without files do not need the disk.
    expect((await client.create({ clientRequestId: uniqueId(), taskType: 'demo.echo' })).status).toBe(201);
    const failed = await eventually('a line', () => nonEmpty(linesOf(service, 'attachment_store.failed')));
    expect(failed).toMatchObject([{ level: 'error', operation: 'put', err: { cause: { code: 'ENOSPC' } } }]);
    const metrics = await Metrics.scrape(service.url);
    expect(metrics.of('attachment_store_failures_total', { operation: 'put' })).toBe(3);
    const lost = await eventually('readiness shows it', async () => {
      const [status, body] = await ready(service);
      return JSON.stringify(body).includes('"attachments":{"status":"not_ready"}') && { status, body };
    });
    // No other replica has more room, so this one stays in service.
    expect(lost).toEqual({ status: 200, body: expect.objectContaining({ status: 'ready' }) });
    expect((await Metrics.scrape(service.url)).find('ready', { part: 'attachments' })).toBe(0);
    expect(linesOf(service, 'readiness.lost')).toMatchObject([
      { probe: 'attachments', err: { cause: { code: 'ENOSPC' } } },
    ]);

    await rm(filling);
    expect((await send(client, Buffer.alloc(200_000, 1))).status).toBe(201);
    const recovered = await eventually('a line', () => nonEmpty(linesOf(service, 'attachment_store.recovered')));
    expect(recovered).toHaveLength(1);
    await eventually('readiness shows that, too', async () =>
      JSON.stringify(await ready(service)).includes('"attachments":{"status":"ready"}'),
    );
    // What was refused, and what the probes wrote, is gone.
    const left = await readdir(directory, { recursive: true, withFileTypes: true });
    expect(left.filter((entry) => entry.isFile())).toHaveLength(1);
  });
});

describe('A service whose bucket is away', () => {
  it('refuses a file with 503, tells the operator once, and is not ready', async () => {
    const s3 = await startS3Server();
    const settings = { ...S3_CREDENTIALS, AWS_MAX_ATTEMPTS: '1', ATTACHMENT_STORE: 's3', S3_BUCKET: s3.bucket };
    const address = { S3_ENDPOINT: s3.endpoint, S3_REGION: s3.region, S3_FORCE_PATH_STYLE: 'true' };
    const service = await startService(
      { DATABASE_URL: database.appUrl, ...settings, ...address },
      { lifetime: 'file' },
    );
    const client = newPrincipal(service.url);
    expect((await send(client, Buffer.from('x'))).status).toBe(201);
    await s3.stop();
    for (let i = 0; i < 2; i += 1) expectError(await send(client, Buffer.from('x')), 503, 'SERVICE_UNAVAILABLE');
    const failed = await eventually('a line', () =>
      nonEmpty(linesOf(service, 'attachment_store.failed').filter(({ operation }) => operation === 'put')),
    );
    expect(failed).toMatchObject([{ level: 'error' }]);
    const metrics = await Metrics.scrape(service.url);
    expect(metrics.of('attachment_store_failures_total', { operation: 'put' })).toBe(2);
    await eventually('it is not ready', async () => (await ready(service))[0] === 503);
    expect(await ready(service)).toEqual([503, withStore('not_ready')]);
    await service.stop();
  });
});
