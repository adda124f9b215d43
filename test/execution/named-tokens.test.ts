import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readConfig } from '../../src/boot/config.js';
import { type Client, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { type Lease, progress, WorkerClient } from '../support/worker-client.js';

const tokenOf = (name: string) => `${name}-token`.padEnd(40, '0');
const PROOF = 'the-proof-of-the-proxy-in-tests';

async function fileOf(content: unknown): Promise<string> {
  const path = join(await temporaryDirectory(), 'tokens');
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

describe('A named worker token', () => {
  let database: TestDatabase;
  let services: readonly Service[];
  let client: Client;
  const types = { a: uniqueId('a'), b: uniqueId('b') };

  beforeAll(async () => {
    database = await createTestDatabase();
    const tokens = [
      { name: 'all', token: tokenOf('all') },
      { name: 'only-a', token: tokenOf('only-a'), types: [types.a] },
      { name: 'acme', token: tokenOf('acme'), tenants: ['acme'] },
      { name: 'none', token: tokenOf('none'), tenants: [''] },
      { name: 'a-of-acme', token: tokenOf('a-of-acme'), types: [types.a], tenants: ['acme', 'other'] },
    ];
    const env = {
      DATABASE_URL: database.appUrl,
      EXECUTOR: 'inline,worker',
      WORKER_TOKENS_FILE: await fileOf(tokens),
      AUTH_PROXY_SECRET: PROOF,
    };
    services = await Promise.all([startService(env, { lifetime: 'file' }), startService(env, { lifetime: 'file' })]);
    client = newPrincipal(services[0]?.url ?? '');
  });

  afterAll(async () => {
    await Promise.all(services.map((service) => service.stop()));
    await database.drop();
  });

  const as = (name: string, replica = 0) => new WorkerClient(services[replica]?.url ?? '', 'host-1', tokenOf(name));
  const created = async (taskType: string, tenant?: string) => {
    const headers = { 'X-Auth-Proxy-Secret': PROOF, ...(tenant !== undefined && { 'X-Tenant-Id': tenant }) };
    const answer = await client.create({ clientRequestId: uniqueId(), taskType }, headers);
    expect(answer.status).toBe(201);
    return answer.body.taskId;
  };
  const claimed = async (name: string, taskTypes: readonly string[], waitTimeoutMs = 0) => {
    const answer = await as(name, 1).claim({ taskTypes: [...taskTypes], maxTasks: 50, waitTimeoutMs });
    expect(answer.status).toBe(200);
    return answer.body.leases;
  };

  it('claims tasks of its types, and is refused by name for others', async () => {
    const taskId = await created(types.a);
    const answer = await as('only-a').claim({ taskTypes: [types.a, types.b] });
    const { message } = expectError(answer, 403, 'ACCESS_DENIED');
    expect(message).toContain(types.b);
    const [lease, ...others] = await claimed('only-a', [types.a]);
    expect([lease?.taskId, others]).toEqual([taskId, []]);
    if (lease) await as('only-a').complete(lease);
  });

  it('is handed tasks of its tenants alone, also when they wait behind those of others', async () => {
    const taskType = uniqueId('type');
    const [ofNone, ofAcme, ofOther] = [
      await created(taskType),
      await created(taskType, 'acme'),
      await created(taskType, 'other'),
    ];
    const idsOf = async (name: string) => {
      const leases = await claimed(name, [taskType]);
      return leases.map((lease) => lease.taskId);
    };
    expect(await idsOf('acme')).toEqual([ofAcme]);
    expect(await idsOf('none')).toEqual([ofNone]);
    expect(await idsOf('acme')).toEqual([]);
    expect(await idsOf('all')).toEqual([ofOther]);
  });

  it('is woken for its tenants while it waits, whatever waits beside it and comes before', async () => {
    const taskType = uniqueId('type');
    const claims = [
      as('acme').claim({ taskTypes: [taskType], waitTimeoutMs: 20_000 }),
      as('none').claim({ taskTypes: [taskType], waitTimeoutMs: 20_000 }),
    ];
    const begun = performance.now();
    const ofNone = await created(taskType);
    const ofAcme = await created(taskType, 'acme');
    const [acme, none] = await Promise.all(claims);
    expect([acme?.body.leases[0]?.taskId, none?.body.leases[0]?.taskId]).toEqual([ofAcme, ofNone]);
    expect(performance.now() - begun).toBeLessThan(10_000);
  });

  it('does not keep another claim from a task by waiting for the same type', async () => {
    const taskType = uniqueId('type');
    const left = new AbortController();
    const limited = as('acme')
      .claim({ taskTypes: [taskType], waitTimeoutMs: 20_000 }, left.signal)
      .catch(() => 'left');
    const open = as('all').claim({ taskTypes: [taskType], waitTimeoutMs: 20_000 });
    const taskId = await created(taskType, 'other');
    expect((await open).body.leases[0]?.taskId).toBe(taskId);
    left.abort();
    expect(await limited).toBe('left');
  });

  it('gets the answer of a stale lease on every route about a task beyond its reach, also with its lease token', async () => {
    await created(types.b, 'acme');
    const lease = (await claimed('all', [types.b]))[0] as Lease;
    const stale = { ...lease, leaseToken: 'a-lease-token-that-is-over' };
    const seen = (answer: { status: number; body: unknown }) => {
      const { code, message, details } = answer.body as Record<string, unknown>;
      return { status: answer.status, code, message, details };
    };
    const calls: Readonly<
      Record<string, (by: WorkerClient, held: Lease) => Promise<{ status: number; body: unknown }>>
    > = {
      heartbeat: (by, held) => by.heartbeat(held),
      events: (by, held) => by.events(held, 1, [progress(1)]),
      suspend: (by, held) => by.suspend(held),
      complete: (by, held) => by.complete(held),
      fail: (by, held) => by.fail(held, { retryable: false }),
      cancelled: (by, held) => by.cancelled(held),
      release: (by, held) => by.release(held),
    };
    for (const call of Object.values(calls)) {
      const expected = seen(await call(as('all'), stale));
      expect(expected).toMatchObject({ status: 409, code: 'LEASE_LOST' });
      for (const name of ['only-a', 'none', 'a-of-acme']) expect(seen(await call(as(name), lease))).toEqual(expected);
    }
    expect((await as('acme').complete(lease)).status).toBe(200);
  });

  it('extends leases within its reach alone, of many in one call', async () => {
    await created(types.a, 'acme');
    await created(types.b, 'acme');
    const [a, b] = await claimed('all', [types.a, types.b]);
    if (!a || !b) throw new Error('two leases were expected');
    const extended = async (name: string) =>
      (await as(name).heartbeats([a, b])).body.leases.map(({ code }) => code ?? 'extended');
    const lost = 'LEASE_LOST';
    expect(await extended('all')).toEqual(['extended', 'extended']);
    expect(await extended('acme')).toEqual(['extended', 'extended']);
    expect(await extended(a.taskType === types.a ? 'a-of-acme' : 'acme')).toEqual(['extended', lost]);
    expect(await extended('none')).toEqual([lost, lost]);
    for (const lease of [a, b]) await as('all').complete(lease);
  });

  it('gets signals of workers of its own name alone, and is registered by it', async () => {
    const taskType = uniqueId('type');
    const taskId = await created(taskType);
    const [lease] = await claimed('all', [taskType]);
    const proof = { 'X-Auth-Proxy-Secret': PROOF };
    expect((await client.post(`/api/v1/tasks/${taskId}/cancel`, {}, proof)).status).toBe(202);
    const seenBy = async (name: string) => (await as(name).signals()).body.signals.map((signal) => signal.taskId);
    expect([await seenBy('all'), await seenBy('none')]).toEqual([[taskId], []]);
    if (lease) await as('all').cancelled(lease);
    await eventually('the worker is registered', () =>
      connected(database.superuserUrl, async (db) => {
        const sql = 'SELECT principal_id, worker_id FROM taskbridge.proj_workers WHERE $1 = ANY (task_types)';
        const { rows } = await db.query<Record<string, string>>(sql, [taskType]);
        if (rows.length > 0) expect(rows).toEqual([{ principal_id: 'worker:all host-1', worker_id: 'all host-1' }]);
        return rows.length > 0;
      }),
    );
  });

  it('is named in the access log and in the rows of its worker, and never shown', async () => {
    const taskType = uniqueId('type');
    const taskId = await created(taskType);
    const [lease] = await claimed('all', [taskType]);
    if (!lease) throw new Error('no lease');
    const stored = await connected(database.superuserUrl, async (db) => {
      const task = await db.query('SELECT worker_id FROM taskbridge.proj_tasks WHERE task_id = $1', [taskId]);
      const events = await db.query('SELECT principal_id FROM taskbridge.events WHERE task_id = $1', [taskId]);
      return [task.rows[0], events.rows[0]];
    });
    expect(stored).toEqual([{ worker_id: 'all host-1' }, { principal_id: 'worker:all host-1' }]);
    await as('all', 1).complete(lease);
    const log = () => services[1]?.stdout() ?? '';
    const named = /"route":"\/worker\/v1\/tasks\/:taskId\/complete".*"worker_token":"all"/;
    await eventually('the access log has the call', () => named.test(log()));
    expect(log()).not.toContain(tokenOf('all'));
  });
});

describe('WORKER_TOKENS_FILE', () => {
  const tokens = async (content: unknown) =>
    readConfig({ WORKER_TOKENS_FILE: await fileOf(content) }).execution.workerTokens;
  const good = { name: 'a', token: tokenOf('a') };

  it('may have bare tokens, as before', async () => {
    expect(await tokens(`${tokenOf('a')},${tokenOf('b')}\n`)).toEqual([
      { token: tokenOf('a') },
      { token: tokenOf('b') },
    ]);
  });

  it('may have a JSON list', async () => {
    const limited = { name: 'b.c_d-1', token: tokenOf('b'), types: ['team/x'], tenants: ['', 'acme'] };
    expect(await tokens([good, limited])).toEqual([good, limited]);
  });

  it.each<[string, unknown, string]>([
    ['JSON that breaks off', '[{"name":"a",', 'begins like JSON and is none: Malformed JSON'],
    ['an object', good, 'must be a JSON list with at least one token'],
    ['an empty list', [], 'must be a JSON list with at least one token'],
    ['a bare token in a list', [tokenOf('a')], 'item 1: must be an object'],
    [
      'an unknown member',
      [good, { ...good, type: ['x'] }],
      'item 2: has a member besides name, token, types and tenants',
    ],
    ['no name', [{ token: tokenOf('a') }], 'item 1: name must be'],
    ['a name with a space', [{ ...good, name: 'a b' }], 'item 1: name must be'],
    ['a short token', [{ ...good, token: 'short' }], 'item 1: token must be'],
    ['a token with a space', [{ ...good, token: 'a b'.repeat(20) }], 'item 1: token must be'],
    ['types that are no list', [{ ...good, types: 'x' }], 'item 1: types must be'],
    ['no types', [{ ...good, types: [] }], 'item 1: types must be'],
    ['a type that is none', [{ ...good, types: ['a b'] }], 'item 1: types must be'],
    ['a tenant that is none', [{ ...good, tenants: ['a b'] }], 'item 1: tenants must be'],
    [
      'a member that comes twice',
      `[{"name":"a","name":"b","token":"${tokenOf('a')}"}]`,
      'begins like JSON and is none',
    ],
    ['a name twice', [good, { ...good, token: tokenOf('b') }], 'item 2: repeats the name of another item'],
    ['a token twice', [good, { ...good, name: 'b' }], 'item 2: repeats the token of another item'],
  ])('is refused with %s, by item and rule, and without its content', async (_what, content, problem) => {
    const refusal = await tokens(content).then(
      () => undefined,
      (error: Error) => error.message,
    );
    expect(refusal).toMatch(/^WORKER_TOKENS_FILE: /);
    expect(refusal).toContain(problem);
    expect(refusal).not.toContain(tokenOf('a'));
  });

  it('may not repeat a secret of the proxy', async () => {
    const env = { WORKER_TOKENS_FILE: await fileOf([good]), AUTH_PROXY_SECRET: good.token };
    expect(() => readConfig(env)).toThrow('WORKER_TOKENS: must not repeat a secret of AUTH_PROXY_SECRET');
  });

  it('is the only place for JSON', () => {
    expect(() => readConfig({ WORKER_TOKENS: JSON.stringify([good]) })).toThrow(/^WORKER_TOKENS: accepts a comma list/);
  });
});
