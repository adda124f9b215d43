import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Batch } from '../src/delivery/batches.js';
import { Channel } from '../src/delivery/channel.js';
import { FeedStream } from '../src/delivery/feed-stream.js';
import { StreamWriter } from '../src/delivery/stream-writer.js';
import { Subscription } from '../src/delivery/subscription.js';
import { StoredEvent } from '../src/tasks/stored-event.js';
import { createTestDatabase } from './support/postgres.js';
import { createReplica, type Replica } from './support/replica.js';

/** Keeps what it is given, and whether that was after its end. */
class Recorder extends StreamWriter {
  readonly taskId = 'task';
  readonly bufferedBytes = 0;
  readonly given: string[] = [];

  constructor() {
    super('sse', 1_000_000);
  }

  override heartbeat(): void {}

  protected override write({ events }: Batch): void {
    for (const { eventId } of events) this.given.push(`${eventId}${this.ended.aborted ? ' after the end' : ''}`);
  }
}

describe('A stream', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let replica: Replica;

  beforeAll(async () => {
    database = await createTestDatabase();
    replica = await createReplica(database.appUrl);
  });

  afterAll(async () => {
    await replica.stop();
    await database.drop();
  });

  // A response that is written to after its end would end the process.
  it('gives nothing to a connection that has ended, though the event was on its way to it', async () => {
    const channel = new Channel('task', { query: () => Promise.reject(new Error('nothing is read')) });
    const writer = new Recorder();
    const stream = replica.get(FeedStream).execute(new Subscription(channel, 0, 0, false, () => {}), writer, () => {});
    const event = (id: number) => new StoredEvent('task', id, 'TASK_PROGRESS', '2026-11-21T12:00:10.123Z', '{}');
    channel.receive(event(1));
    await new Promise(setImmediate);
    // The stream has been woken when this runs, and has not taken the event yet.
    queueMicrotask(() => writer.end('max_age'));
    channel.receive(event(2));
    await stream;
    expect(writer.given).toEqual(['1']);
  });
});
