import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { uniqueId } from '../support/client.js';
import { field, file, formOf } from '../support/form.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { startService, type Service } from '../support/service.js';
import { WITH_WORKERS, WORKER_TOKEN } from '../support/worker-client.js';

interface LeasedFile {
  readonly taskId: string;
  readonly leaseToken: string;
  readonly attachments: readonly { readonly url: string }[];
}

describe('A file of a leased task', () => {
  let database: TestDatabase;
  let service: Service;

  beforeAll(async () => {
    database = await createTestDatabase();
    service = await startService(
      { DATABASE_URL: database.appUrl, ...WITH_WORKERS, REQUIRE_AUTHENTICATED_PRINCIPAL: 'true' },
      { lifetime: 'file' },
    );
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  async function leased(): Promise<LeasedFile> {
    const taskType = `download.${uniqueId()}`;
    const form = formOf([
      field('clientRequestId', uniqueId()),
      field('taskType', taskType),
      file('a.txt', 'the bytes', 'text/plain'),
    ]);
    const created = await fetch(`${service.url}/api/v1/tasks`, {
      method: 'POST',
      headers: { ...form.headers, 'X-Principal-Id': 'alice' },
      body: form.body,
    });
    expect(created.status).toBe(201);
    const claimed = await worker('leases', { workerId: 'w', taskTypes: [taskType], maxTasks: 1, waitTimeoutMs: 5_000 });
    const { leases } = (await claimed.json()) as { leases: LeasedFile[] };
    return leases[0] as LeasedFile;
  }

  function worker(path: string, body: object): Promise<Response> {
    return fetch(`${service.url}/worker/v1/${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${WORKER_TOKEN}` },
      body: JSON.stringify(body),
    });
  }

  const download = (lease: LeasedFile, leaseToken: string) =>
    fetch(service.url + (lease.attachments[0]?.url ?? ''), { headers: { 'X-Lease-Token': leaseToken } });

  it('is given to the worker that holds the lease', async () => {
    const lease = await leased();
    const answer = await download(lease, lease.leaseToken);
    expect([answer.status, await answer.text()]).toEqual([200, 'the bytes']);
  });

  it('is refused to a token that is no lease of the task', async () => {
    const [lease, other] = [await leased(), await leased()];
    for (const token of ['1.invented', other.leaseToken]) {
      const answer = await download(lease, token);
      expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([409, 'LEASE_LOST']);
    }
  });

  it('is refused once the lease is over', async () => {
    const lease = await leased();
    await worker(`tasks/${lease.taskId}/complete`, { leaseToken: lease.leaseToken, result: 1 });
    expect((await download(lease, lease.leaseToken)).status).toBe(409);
  });

  it('is refused without a principal and without a lease', async () => {
    const lease = await leased();
    expect((await fetch(service.url + (lease.attachments[0]?.url ?? ''))).status).toBe(401);
  });
});
