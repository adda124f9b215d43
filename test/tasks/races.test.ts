import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, type CreateBody, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants, connected, storedEnvelopes } from '../support/fold.js';
import { seededRandom } from '../support/follow.js';
import { createTestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService } from '../support/service.js';

const full = process.env['FULL'] === '1';

describe('Two instances on one database', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let services: Service[];

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = { DATABASE_URL: database.appUrl, LOG_LEVEL: 'info' };
    services = await Promise.all([startService(env, { lifetime: 'file' }), startService(env, { lifetime: 'file' })]);
  });

  afterAll(async () => {
    await Promise.all(services.map((service) => service.stop()));
    await database.drop();
  });

  /** The same principal on each instance. */
  const onBoth = (): Client[] => {
    const { principal } = newPrincipal('');
    return services.map(({ url }) => new Client(url, principal));
  };
  const oneOf = (clients: readonly Client[], n: number): Client => clients[n % clients.length] as Client;

  /** The id of a new task. */
  const accepted = async (client: Client, taskType: string, input: Record<string, unknown>): Promise<string> => {
    const answer = await client.create({ clientRequestId: uniqueId(), taskType, input });
    expect({ status: answer.status, text: answer.text }).toMatchObject({ status: 201 });
    return answer.body.taskId;
  };

  const query = async <Row>(sql: string, parameters: unknown[] = []): Promise<Row[]> =>
    connected(database.superuserUrl, async (db) => (await db.query(sql, parameters)).rows as Row[]);

  const untilOver = (ids: readonly string[]) =>
    eventually(
      `${ids.length} tasks end`,
      async () => {
        const open = `SELECT 1 FROM taskbridge.proj_tasks WHERE task_id = ANY ($1::uuid[]) AND status IN ('ACCEPTED', 'RUNNING') LIMIT 1`;
        return (await query(open, [ids])).length === 0;
      },
      60_000,
    );

  it('make one task of 200 equal creates at once, and answer all of them', async () => {
    for (let key = 0; key < (full ? 25 : 3); key++) {
      const clients = onBoth();
      const body: CreateBody = { clientRequestId: uniqueId(), taskType: 'demo.echo', input: { key } };
      const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => oneOf(clients, n).create(body)));
      const statuses = answers.map(({ status }) => status).sort();
      expect(statuses).toEqual([...Array(199).fill(200), 201]);
      expect(new Set(answers.map(({ body: { taskId } }) => taskId)).size).toBe(1);
      const stored = await query('SELECT 1 FROM taskbridge.proj_tasks WHERE client_request_id = $1', [
        body.clientRequestId,
      ]);
      expect(stored).toHaveLength(1);
    }
  }, 120_000);

  it('accept one of two different contents under one key, and refuse every other with 409', async () => {
    for (let key = 0; key < (full ? 25 : 3); key++) {
      const clients = onBoth();
      const clientRequestId = uniqueId();
      const answers = await Promise.all(
        Array.from({ length: 50 }, async (_, n) => {
          const content = n % 3;
          const answer = await oneOf(clients, n).create({ clientRequestId, taskType: 'demo.echo', input: { content } });
          return { content, status: answer.status };
        }),
      );
      const winner = answers.find(({ status }) => status === 201)?.content;
      for (const { content, status } of answers) {
        expect([content, content === winner ? [200, 201] : [409]]).toEqual([content, expect.arrayContaining([status])]);
      }
      expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    }
  }, 120_000);

  it('end a task once when its completion and its cancellation race', async () => {
    const random = seededRandom(7);
    const rounds = full ? 1_000 : 120;
    const ids: string[] = [];
    for (let round = 0; round < rounds; round += 20) {
      const batch = await Promise.all(
        Array.from({ length: 20 }, async (_, n) => {
          const clients = onBoth();
          const taskId = await accepted(oneOf(clients, n), 'demo.sleep', { ms: Math.floor(random() * 15) });
          const cancels = await Promise.all(clients.map((client) => client.cancel(taskId)));
          expect(cancels.map(({ status }) => status)).toEqual([202, 202]);
          return taskId;
        }),
      );
      ids.push(...batch);
    }
    await untilOver(ids);
    const ends = await query<{ task_id: string; ends: number }>(
      `SELECT task_id, count(*) FILTER (WHERE type IN ('TASK_COMPLETED', 'TASK_FAILED', 'TASK_CANCELLED'))::int AS ends
       FROM taskbridge.events WHERE task_id = ANY ($1::uuid[]) GROUP BY task_id`,
      [ids],
    );
    expect(ends.map((row) => row.ends)).toEqual(Array(rounds).fill(1));
  }, 300_000);

  it('run each task once, on one of them', async () => {
    const clients = onBoth();
    const count = full ? 500 : 100;
    const steps = 4;
    const ids: string[] = [];
    // Fifty at a time: what waits for a connection for more than 2 s is answered 503, and this is no test of that.
    while (ids.length < count) {
      const submit = (n: number) => accepted(oneOf(clients, n), 'demo.greet', { name: `${n}`, steps, stepMs: 10 });
      ids.push(...(await Promise.all(Array.from({ length: 50 }, (_, n) => submit(n)))));
    }
    await untilOver(ids);
    const expected = ['TASK_STARTED', ...Array(steps).fill('TASK_PROGRESS'), 'TASK_COMPLETED'];
    for (const taskId of ids) {
      const log = (await storedEnvelopes(database.superuserUrl, taskId)).map(
        (raw) => JSON.parse(raw) as { type: string },
      );
      expect(log.map(({ type }) => type)).toEqual(expected);
    }
    const attempts = await query(
      'SELECT 1 FROM taskbridge.proj_tasks WHERE task_id = ANY ($1::uuid[]) AND attempt <> 1',
      [ids],
    );
    expect(attempts).toEqual([]);
  }, 180_000);

  it('cancel on one of them what the other one runs', async () => {
    const clients = onBoth();
    const ids = await Promise.all(
      Array.from({ length: 10 }, (_, n) => accepted(oneOf(clients, n), 'demo.sleep', { ms: 60_000 })),
    );
    const started = "SELECT 1 FROM taskbridge.proj_tasks WHERE task_id = ANY ($1::uuid[]) AND status = 'RUNNING'";
    await eventually('all run', async () => (await query(started, [ids])).length === ids.length);
    // Each by the instance that did not accept it. The instance that runs it has to hear of it.
    await Promise.all(ids.map((taskId, n) => oneOf(clients, n + 1).cancel(taskId)));
    await eventually('all are cancelled', async () => {
      const cancelled = "SELECT 1 FROM taskbridge.proj_tasks WHERE task_id = ANY ($1::uuid[]) AND status = 'CANCELLED'";
      return (await query(cancelled, [ids])).length === ids.length;
    });
  }, 60_000);

  it('leave a database in which every guarantee holds', async () => {
    await checkInvariants(database.superuserUrl, { quiescent: true });
  });
});
