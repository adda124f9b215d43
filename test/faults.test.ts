import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { runScenario } from './faults/scenario.js';
import type { Visit } from './faults/subscriber.js';
import { Judgement, type Verdict } from './faults/verdict.js';
import { createTestDatabase } from './support/postgres.js';
import { startRedis, type TestRedis } from './support/redis.js';

describe('Two replicas behind a balancer', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let redis: TestRedis;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startRedis()]);
  }, 120_000);

  afterAll(async () => {
    await Promise.all([redis.stop(), database.drop()]);
  });

  it('keep every promise while one is killed, Redis restarts and PostgreSQL ends its connections', async () => {
    const said: string[] = [];
    const sizes = { tasks: 9, events: 30, subscribers: 3, kills: 1, seconds: 6, seed: 1 };
    const { verdict, findings } = await runScenario(sizes, { database, redis, say: (line) => said.push(line) });
    expect({ said, findings }).toEqual({ said, findings: [] });
    expect(verdict.acknowledged).toBe(verdict.stored);
  }, 120_000);
});

describe('The verdict', () => {
  const taskId = 'task';
  const log = ['TASK_STARTED', 'TASK_PROGRESS', 'TASK_PROGRESS', 'TASK_COMPLETED'].map((type, at) =>
    JSON.stringify({ type, eventId: String(at + 1) }),
  );
  const events = (...ids: number[]) =>
    ids.map((id) => ({ eventId: String(id), raw: log[id - 1] ?? `{"eventId":"${id}"}` }));
  const visit = (ids: number[], more: Partial<Visit> = {}): Visit => {
    const ended = ids.at(-1) === log.length ? { kind: 'close', code: 1000 } : { kind: 'left' };
    return { cursor: undefined, events: events(...ids), ended, ...more } as Visit;
  };
  const whole = visit([1, 2, 3, 4]);
  const altered = { eventId: '2', raw: '{"type":"TASK_PROGRESS","eventId":"2","payload":{}}' };

  const histories: [string, Partial<Verdict>, Visit[]][] = [
    ['an undisturbed one', {}, [whole]],
    [
      'one that was cut and resumed',
      {},
      [visit([1, 2], { ended: { kind: 'broken' } }), visit([3, 4], { cursor: '2' })],
    ],
    ['one refused for a while', {}, [visit([], { ended: { kind: 'status', code: 503 } }), whole]],
    ['a hole', { holes: 1 }, [visit([1, 3, 4])]],
    ['a hole where it resumed', { holes: 1 }, [visit([1]), visit([3, 4], { cursor: '1' })]],
    ['a duplicate', { duplicates: 1 }, [visit([1, 2, 2, 3, 4])]],
    ['events in another order', { reordered: 1, holes: 1 }, [visit([1, 3, 2, 4])]],
    ['an event from before the cursor', { reordered: 1 }, [visit([1, 2]), visit([2, 3, 4], { cursor: '2' })]],
    ['other bytes', { mismatches: 1 }, [visit([], { events: [...events(1), altered, ...events(3, 4)] })]],
    ['less than is stored', { lost: 1 }, [visit([1, 2, 3])]],
    ['more than is stored', { lost: 1, terminalViolations: 1 }, [visit([1, 2, 3, 4, 5])]],
    [
      'an end before the end',
      { terminalViolations: 1, lost: 2 },
      [visit([1, 2], { ended: { kind: 'close', code: 1000 } })],
    ],
    [
      'a refusal of an own task',
      { terminalViolations: 1 },
      [visit([], { ended: { kind: 'status', code: 404 } }), whole],
    ],
    [
      'no end after the end',
      { terminalViolations: 1 },
      [{ cursor: undefined, events: whole.events }, visit([], { cursor: '4' })],
    ],
  ];

  it.each(histories)('of %s is %j', (_name, expected, visits) => {
    const judgement = new Judgement();
    judgement.look({ taskId, transport: 'WebSocket', visits }, log);
    expect(Object.fromEntries(Object.entries(judgement.verdict).filter(([, count]) => count > 0))).toEqual(expected);
  });
});
