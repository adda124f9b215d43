import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Batch } from '../../src/following/batches.js';
import type { StreamEnd } from '../../src/streaming/connection.js';
import { Channel } from '../../src/following/channel.js';
import { FeedStream } from '../../src/streaming/feed-stream.js';
import { StreamWriter } from '../../src/streaming/stream-writer.js';
import { Subscription } from '../../src/following/subscription.js';
import { StoredEvent } from '../../src/tasks/domain/stored-event.js';
import { createTestDatabase } from '../support/postgres.js';
import { createReplica, type Replica } from '../support/replica.js';
import { eventually } from '../support/service.js';

/** Keeps what it is given, and whether that was after its end. */
class Recorder extends StreamWriter {
  readonly taskId = 'task';
  bufferedBytes = 0;
  readonly given: string[] = [];
  /** Why its streams ended. */
  readonly endings: StreamEnd[] = [];

  constructor() {
    super('sse', 1_000);
  }

  override heartbeat(): void {}

  override streamEnded(taskId: string, why: StreamEnd): void {
    this.endings.push(why);
    super.streamEnded(taskId, why);
  }

  protected override write({ events }: Batch): void {
    for (const { eventId } of events) this.given.push(`${eventId}${this.why ? ' after the end' : ''}`);
  }
}

const event = (id: number) => new StoredEvent('task', id, 'TASK_PROGRESS', '2026-11-21T12:00:10.123Z', '{}');

/** The log answers a read when a test says so. */
function heldLog() {
  const { promise, resolve } = Promise.withResolvers<readonly StoredEvent[]>();
  const row = ({ eventId, type, createdAt, payloadJson }: StoredEvent) => ({
    task_id: 'task',
    event_id: String(eventId),
    type,
    payload: payloadJson,
    created_at: createdAt,
  });
  const query = async <Row extends object>() => (await promise).map(row) as unknown as readonly Row[];
  return { query, answer: resolve };
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

  function fed(log: ReturnType<typeof heldLog>, cursor: number, head: number) {
    const channel = new Channel('task', log);
    channel.advanceTo(head);
    const writer = new Recorder();
    let releases = 0;
    const subscription = new Subscription(channel, cursor, head, false, () => {});
    replica.get(FeedStream).execute(subscription, writer, () => (releases += 1));
    const tell = (...ids: readonly number[]) => {
      for (const id of ids) channel.receive(event(id));
      channel.announce();
    };
    return { writer, tell, releases: () => releases };
  }

  const turn = () => new Promise(setImmediate);

  it('gives what came together in one turn, and before that turn is over', () => {
    const { writer, tell } = fed(heldLog(), 0, 0);
    tell(1);
    tell(2, 3);
    expect(writer.given).toEqual(['1', '2', '3']);
  });

  // A response that is written to after its end would end the process.
  it('gives nothing to a connection that has ended', () => {
    const { writer, tell, releases } = fed(heldLog(), 0, 0);
    tell(1);
    writer.end('max_age');
    tell(2);
    expect([writer.given, writer.endings, releases()]).toEqual([['1'], ['max_age'], 1]);
  });

  it('gives nothing to a connection that has ended, though a page of the log was on its way to it', async () => {
    const log = heldLog();
    const { writer } = fed(log, 0, 2);
    writer.end('max_age');
    log.answer([event(1), event(2)]);
    await turn();
    expect([writer.given, writer.endings]).toEqual([[], ['max_age']]);
  });

  it('ends at once with its connection, though its client does not read', async () => {
    const { writer, tell, releases } = fed(heldLog(), 0, 0);
    writer.bufferedBytes = 2_000;
    tell(1);
    writer.end('client_left');
    await turn();
    expect([writer.given, writer.endings, releases()]).toEqual([[], ['client_left'], 1]);
  });

  it('goes on where it was when its client reads again', async () => {
    const { writer, tell } = fed(heldLog(), 0, 0);
    writer.bufferedBytes = 2_000;
    tell(1);
    tell(2);
    expect(writer.given).toEqual([]);
    writer.bufferedBytes = 0;
    await eventually('the events are given', () => writer.given.length > 0 || undefined);
    expect(writer.given).toEqual(['1', '2']);
  });
});
