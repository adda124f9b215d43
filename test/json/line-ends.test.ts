import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { storedJson, withoutLineEnds } from '#protocol/exact-json.js';
import { type Client, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { connected, storedEnvelopes } from '../support/fold.js';
import { transports } from '../support/follow.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Service, startService } from '../support/service.js';
import {
  type Lease,
  message,
  output,
  progress,
  question,
  WITH_WORKERS,
  WorkerClient,
  type WorkerEvent,
} from '../support/worker-client.js';

const RAW = /[\u0085\u2028\u2029]/;
const TEXT = 'one\u2028two\u2029three\u0085four';
const VALUE = { [TEXT]: [TEXT] };

describe('JSON that is stored', () => {
  it('has no line end of Unicode, and is the same value', () => {
    const text = fc.string({ unit: fc.constantFrom('\u0085', '\u2028', '\u2029', '\\', '"', '\n', 'a', 'é') });
    fc.assert(
      fc.property(fc.dictionary(text, text), (value) => {
        const json = storedJson(value);
        expect(json).not.toMatch(RAW);
        expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(withoutLineEnds(json)).toBe(json);
      }),
    );
  });
});

describe('A service', () => {
  let database: TestDatabase;
  let service: Service;
  let client: Client;
  let worker: WorkerClient;

  beforeAll(async () => {
    database = await createTestDatabase();
    service = await startService({ DATABASE_URL: database.appUrl, ...WITH_WORKERS }, { lifetime: 'file' });
    client = newPrincipal(service.url);
    worker = new WorkerClient(service.url);
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  const leased = async (input: Record<string, unknown> = {}): Promise<Lease> => {
    const taskType = uniqueId('test');
    const { status } = await client.create({ clientRequestId: uniqueId(), taskType, input, metadata: input });
    expect(status).toBe(201);
    return worker.lease(taskType);
  };

  const change = (sql: string, ...values: unknown[]) =>
    connected(database.superuserUrl, async (db) => void (await db.query(sql, values)));

  it('puts out no line end of Unicode in any event, snapshot, list, lease or page', async () => {
    const lease = await leased(VALUE);
    const { taskId } = lease;
    await worker.events(lease, 1, [
      message(TEXT),
      output(TEXT, TEXT),
      { type: 'TASK_PROGRESS', payload: { progress: 1, stage: TEXT, message: TEXT } },
    ]);
    await worker.suspend(
      lease,
      question({ suspendId: 'q', reasonCode: TEXT, allowedActions: [TEXT], interaction: VALUE, uiHints: VALUE }),
    );
    const asking = await client.snapshot(taskId);
    const action = { clientActionId: 'a', suspendId: 'q', actionType: TEXT, payload: VALUE, metadata: VALUE };
    expect((await client.act(taskId, action)).status).toBe(202);
    const { text: claimed, body } = await worker.claim({ taskTypes: [lease.taskType] });
    const [resumed] = body.leases;
    await worker.fail(resumed as Lease, { code: TEXT, message: TEXT, retryable: true, retryAfterMs: 0 });
    const last = await worker.lease(lease.taskType);
    await worker.complete(last, VALUE);
    const over = await client.snapshot(taskId);
    const listed = await client.list({ taskType: lease.taskType });
    const page = await client.events(taskId);
    for (const { text } of [asking, over, listed, page]) expect(text).not.toMatch(RAW);
    expect(claimed).not.toMatch(RAW);
    // Nothing is lost by it.
    expect(over.body).toMatchObject({ input: VALUE, metadata: VALUE, result: VALUE });
    expect(resumed?.resume?.payload).toEqual(VALUE);
    expect(page.body.events.map(({ payload }) => payload)).toEqual(
      expect.arrayContaining([
        { message: TEXT },
        expect.objectContaining({ reasonCode: TEXT, interaction: VALUE }),
        { result: VALUE },
      ]),
    );
    const stored = await storedEnvelopes(database.superuserUrl, taskId);
    expect(stored.join('\n')).not.toMatch(RAW);
    for (const follow of Object.values(transports)) {
      const reader = follow(service.url, taskId, null, client.headers);
      await reader.end();
      expect(reader.events.map(({ raw }) => raw)).toEqual(stored);
    }
    const cancelled = await leased();
    await client.cancel(cancelled.taskId, { reason: TEXT });
    await worker.cancelled(cancelled, TEXT);
    expect((await storedEnvelopes(database.superuserUrl, cancelled.taskId)).at(-1)).toContain('\\u2028');
  });

  it('delivers what 0.1.0 stored with its bytes', async () => {
    const lease = await leased();
    await worker.events(lease, 1, [message(TEXT)]);
    const raw = JSON.stringify({ message: TEXT });
    await change(
      'UPDATE taskbridge.events SET payload = $2::json WHERE task_id = $1 AND event_id = 2',
      lease.taskId,
      raw,
    );
    const page = await client.events(lease.taskId);
    expect(page.text).toContain(`"payload":${raw}`);
  });

  describe('that gets again what 0.1.0 had stored as it is', () => {
    /** Stores these payloads as 0.1.0 would have stored the batch 1 of the lease. */
    const storedBy010 = async ({ taskId }: Lease, events: readonly WorkerEvent[]) => {
      for (const [at, { type, payload }] of events.entries()) {
        await change(
          `INSERT INTO taskbridge.events (task_id, event_id, type, payload, attempt, lease_number, batch_seq, correlation_id, principal_id)
           SELECT task_id, $2, $3, $4::json, 1, 1, 1, correlation_id, 'worker:w' FROM taskbridge.proj_tasks WHERE task_id = $1`,
          ...[taskId, at + 2, type, JSON.stringify(payload)],
        );
      }
      await change(
        'UPDATE taskbridge.proj_tasks SET head_event_id = $2, batch_seq = 1 WHERE task_id = $1',
        taskId,
        events.length + 1,
      );
    };
    const joined = (data: string) => ({
      type: 'TASK_OUTPUT',
      payload: { channel: 'text', op: 'append', data, attempt: 1 },
    });

    it('recognises a batch by its values, and refuses another one', async () => {
      const lease = await leased();
      const batch = [message(TEXT), output(TEXT), progress(5)];
      await storedBy010(lease, [message(TEXT), joined(TEXT), progress(5)] as WorkerEvent[]);
      const repeated = await worker.events(lease, 1, batch);
      expect([repeated.status, repeated.body.eventIds]).toEqual([200, ['2', '3', '4']]);
      const other = [message(TEXT.replace('\u2028', '\u2029')), ...batch.slice(1)];
      expectError(await worker.events(lease, 1, other), 409, 'IDEMPOTENCY_CONFLICT');
      expect(await storedEnvelopes(database.superuserUrl, lease.taskId)).toHaveLength(4);
    });

    it('recognises output that it would join in other pieces, because it counts escapes', async () => {
      const lease = await leased();
      // Two pieces of 30 000 bytes, and of 60 000 with escapes: 0.1.0 made one event of both.
      const piece = '\u2028'.repeat(10_000);
      await storedBy010(lease, [joined(piece + piece)] as WorkerEvent[]);
      const repeated = await worker.events(lease, 1, [output(piece), output(piece)]);
      expect([repeated.status, repeated.body.eventIds]).toEqual([200, ['2', '2']]);
      expectError(await worker.events(lease, 1, [output(piece), output(`${piece}x`)]), 409, 'IDEMPOTENCY_CONFLICT');
      const next = await worker.events(lease, 2, [output(piece), output(piece)]);
      expect(next.body.eventIds).toEqual(['3', '4']);
    });

    it('recognises what it stored itself', async () => {
      const lease = await leased();
      const batch = [message(TEXT), output(TEXT), output('more')];
      const first = await worker.events(lease, 1, batch);
      expect((await worker.events(lease, 1, batch)).body.eventIds).toEqual(first.body.eventIds);
      expect((await worker.complete(lease, VALUE)).body).toEqual((await worker.complete(lease, VALUE)).body);
      expectError(await worker.complete(lease, TEXT), 409, 'LEASE_LOST');
    });
  });
});
