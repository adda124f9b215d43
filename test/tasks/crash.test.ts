import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Answer, Client, type CreateBody, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants, connected, storedEnvelopes } from '../support/fold.js';
import { type Delivered, followWebSocket, isTerminal } from '../support/follow.js';
import { createTestDatabase } from '../support/postgres.js';
import { type Matcher, PostgresProxy } from '../support/postgres-proxy.js';
import { eventually, type Service, startService } from '../support/service.js';

/** More round trips than any operation has, so only the end of the operation ends the loop. */
const TOO_MANY = 40;
/** What PostgreSQL replaces in the id of a new task. */
const TIMED = '01a20008-c848-';
const UUID_V7 = /[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/g;

/**
 * The round trips of one task's story: those that carry its key or its id, and the COMMIT of each transaction in which one
 * did. An id that is not known yet is learned from the request that stores the key: its random part, because PostgreSQL sets the
 * time. Polls and sweeps that touch nobody are not counted.
 */
function storyOf(key: string, taskId?: string): Matcher {
  const names = new Set([key, ...(taskId === undefined ? [] : [taskId])]);
  const touched = new Set<number>();
  return ({ connection, sql, parameters }) => {
    if (/^\s*begin\b/i.test(sql)) touched.delete(connection);
    if (/^\s*commit\b/i.test(sql)) return touched.delete(connection);
    // A read that locks nothing changes nothing; those that repeat by the clock would blur the count.
    if (/^\s*select\b/i.test(sql) && !/\bfor update\b/i.test(sql)) return false;
    if (![...names].some((name) => parameters.includes(name))) return false;
    if (parameters.includes(key)) for (const id of parameters.match(UUID_V7) ?? []) names.add(id.slice(TIMED.length));
    touched.add(connection);
    return true;
  };
}

describe('A service that is killed', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let proxy: PostgresProxy;
  let service: Service;
  const principal = newPrincipal('').principal;
  const client = () => new Client(service.url, principal);
  /** The known ids of tasks, by key. */
  const taskIds = new Map<string, string>();

  const start = async (env: Record<string, string> = {}) => {
    // Unlimited attempts, except in tests about them: kills for later tasks may hit a task.
    const settings = { LEASE_SECONDS: '1', TASK_MAX_ATTEMPTS: '1000', CANCEL_GRACE_SECONDS: '1' };
    service = await startService({ DATABASE_URL: proxy.url, ...settings, ...env }, { lifetime: 'file' });
  };
  const kill = async () => {
    service.kill('SIGKILL');
    await service.exited;
  };

  beforeAll(async () => {
    database = await createTestDatabase();
    proxy = await PostgresProxy.start(database.appUrl);
    await start();
  });

  afterAll(async () => {
    await service.stop();
    await proxy.close();
    await database.drop();
  });

  /** Straight from the rows: a question to the service would be a round trip of the story. */
  const statusOf = async (key: string): Promise<string | undefined> =>
    connected(database.superuserUrl, async (db) => {
      const sql = 'SELECT status FROM taskbridge.proj_tasks WHERE client_request_id = $1';
      return (await db.query<{ status: string }>(sql, [key])).rows[0]?.status;
    });
  const isOver = async (key: string) => ['COMPLETED', 'FAILED', 'CANCELLED'].includes((await statusOf(key)) ?? '');
  const answered = <T>(request: Promise<Answer<T>>) => request.catch(() => undefined);

  /**
   * Kills the service at every round trip of an operation, first before and then after PostgreSQL sees it; each time starts it
   * again and repeats. Returns the number of kills. `operate` ends when the operation does or the service is gone.
   */
  const killedEverywhere = async (operation: {
    prepare(key: string): Promise<void>;
    operate(key: string): Promise<unknown>;
    retry(key: string): Promise<void>;
    over(key: string): Promise<boolean>;
  }): Promise<number> => {
    const keys: string[] = [];
    let kills = 0;
    for (const side of ['before', 'after'] as const) {
      for (let k = 1; ; k++) {
        expect(k).toBeLessThan(TOO_MANY);
        const key = uniqueId();
        await operation.prepare(key);
        keys.push(key);
        let hit = false;
        void proxy[side](k, { matches: storyOf(key, taskIds.get(key)), act: kill }).then(() => {
          hit = true;
        });
        await operation.operate(key);
        // Reached and not yet hit: PostgreSQL has it, and the kill is under way.
        const untouched = async () => (await operation.over(key)) && proxy.armed > 0;
        await eventually('the operation is over or was hit', async () => hit || (await untouched()));
        proxy.resume();
        if (!hit) break;
        kills++;
        await start();
        await operation.retry(key);
      }
    }
    for (const key of keys) await eventually(`${key} ends`, () => isOver(key), 30_000);
    await checkInvariants(database.superuserUrl, { quiescent: true });
    return kills;
  };

  const greet = (key: string): CreateBody => ({
    clientRequestId: key,
    taskType: 'demo.greet',
    input: { name: 'Ada', steps: 2, stepMs: 1 },
  });
  it('at any round trip of a create, its appends and its completion loses and repeats nothing', async () => {
    const kills = await killedEverywhere({
      prepare: async () => {},
      operate: (key) => answered(client().create(greet(key))),
      retry: async (key) => {
        const answer = await client().create(greet(key));
        expect([200, 201]).toContain(answer.status);
        taskIds.set(key, answer.body.taskId);
      },
      over: isOver,
    });
    // The insert, the claim, an append and the completion at the least, each before and after.
    expect(kills).toBeGreaterThanOrEqual(8);
    for (const taskId of taskIds.values()) {
      const log = (await storedEnvelopes(database.superuserUrl, taskId)).map(
        (raw) => JSON.parse(raw) as { type: string },
      );
      expect(log.at(-1)?.type).toBe('TASK_COMPLETED');
    }
  }, 300_000);

  it('at any round trip of a cancellation ends the task as cancelled after the repeat', async () => {
    const kills = await killedEverywhere({
      prepare: async (key) => {
        const body = { clientRequestId: key, taskType: 'demo.sleep', input: { ms: 600_000 } };
        taskIds.set(key, (await client().create(body)).body.taskId);
        await eventually('it runs', async () => (await statusOf(key)) === 'RUNNING');
      },
      operate: (key) => answered(client().cancel(taskIds.get(key) ?? '')),
      retry: async (key) => {
        const answer = await client().cancel(taskIds.get(key) ?? '');
        expect(answer.status).toBe(202);
      },
      over: async (key) => (await statusOf(key)) === 'CANCELLED',
    });
    expect(kills).toBeGreaterThanOrEqual(6);
  }, 300_000);

  it('lets a client that resumes see the ids go on without a hole', async () => {
    const body = { clientRequestId: uniqueId(), taskType: 'demo.stream', input: { chunks: 30, intervalMs: 20 } };
    const { taskId } = (await client().create(body)).body;
    const seen: Delivered[] = [];
    for (let kills = 0; !isTerminal(seen.at(-1)?.raw ?? '{}'); kills++) {
      const reader = followWebSocket(service.url, taskId, seen.at(-1)?.eventId, client().headers);
      if (kills < 2) {
        await reader.waitFor(({ events }) => events.length >= 5);
        await kill();
      }
      await reader.end(20_000);
      seen.push(...reader.events);
      if (kills < 2) await start();
    }
    expect(seen.map(({ raw }) => raw)).toEqual(await storedEnvelopes(database.superuserUrl, taskId));
    const retries = seen.map(({ raw }) => JSON.parse(raw) as { type: string; payload: unknown }).filter(isRetry);
    expect(retries.map(({ payload }) => payload)).toEqual([
      { attempt: 2, reason: expect.any(String), supersedesAfterEventId: '1', notBefore: expect.any(String) },
      {
        attempt: 3,
        reason: expect.any(String),
        supersedesAfterEventId: expect.any(String),
        notBefore: expect.any(String),
      },
    ]);
  }, 60_000);

  it('while a task runs has it retried, and after the last attempt failed as STALLED', async () => {
    await service.stop();
    await start({ TASK_MAX_ATTEMPTS: '2' });
    const body = { clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 600_000 } };
    const { headers, body: created } = await client().create(body);
    const { taskId } = created;
    const attempt = async (n: number) =>
      eventually(`attempt ${n} runs`, async () => {
        const { status, attempt } = (await client().snapshot(taskId)).body;
        return status === 'RUNNING' && attempt === n;
      });
    await attempt(1);
    await kill();
    await start({ TASK_MAX_ATTEMPTS: '2' });
    await attempt(2);
    await kill();
    await start({ TASK_MAX_ATTEMPTS: '2' });
    const reader = followWebSocket(service.url, taskId, null, client().headers);
    await reader.end();
    const events = reader.events.map(
      ({ raw }) => JSON.parse(raw) as { type: string; payload: Record<string, unknown> },
    );
    expect(events.map(({ type }) => type)).toEqual(['TASK_STARTED', 'TASK_RETRYING', 'TASK_FAILED']);
    expect(events[1]?.payload).toEqual({
      attempt: 2,
      reason: expect.any(String),
      supersedesAfterEventId: '1',
      notBefore: expect.any(String),
    });
    expect(events[2]?.payload).toEqual({
      code: 'STALLED',
      message: expect.any(String),
      retryable: expect.any(Boolean),
    });
    const told = await eventually('the log tells of it', () =>
      service
        .stdout()
        .split('\n')
        .find((line) => line.includes('"reaper.attempt_ended"')),
    );
    // The correlation id of the request leads to it.
    expect(JSON.parse(told)).toMatchObject({
      taskId,
      correlation_id: headers.get('x-correlation-id'),
      causation_id: '2',
      eventId: '3',
      outcome: 'FAILED',
    });
    await checkInvariants(database.superuserUrl, { quiescent: true });
  }, 60_000);
});

function isRetry({ type }: { type: string }): boolean {
  return type === 'TASK_RETRYING';
}
