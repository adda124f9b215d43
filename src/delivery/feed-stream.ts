import { Injectable } from '@nestjs/common';
import { Log } from '../observability/log.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { TransportDiagnosticsSink } from '../observability/transport-diagnostics-sink.js';
import { TaskNotFound } from '../tasks/domain/tasks.errors.js';
import { type Batch, batches } from './batches.js';
import type { StreamEnd } from './connection.js';
import { DeliveryConfig } from './delivery.config.js';
import type { StreamWriter } from './stream-writer.js';
import type { Subscription } from './subscription.js';

/** Brings what a subscription yields to the client, as fast as the client reads and no faster. */
@Injectable()
export class FeedStream {
  constructor(
    private readonly config: DeliveryConfig,
    private readonly metrics: MetricsSink,
    private readonly diagnostics: TransportDiagnosticsSink,
    private readonly log: Log,
  ) {}

  /** Until the task, the subscription or the connection is over. Then gives the place back and says so. Never rejects. */
  async execute(subscription: Subscription, writer: StreamWriter, release: () => void): Promise<void> {
    const { taskId } = subscription;
    const { transport } = writer;
    const close = () => subscription.close();
    writer.ended.addEventListener('abort', close);
    if (writer.ended.aborted) close();
    writer.onSilence(this.config.heartbeatSeconds * 1000, () => this.beat(writer));
    const why = await this.pump(subscription, writer).catch((error: unknown): StreamEnd => {
      if (error instanceof TaskNotFound) return 'removed';
      this.log.error({ taskId, transport, err: error }, 'stream.failed');
      return 'failed';
    });
    writer.ended.removeEventListener('abort', close);
    close();
    release();
    if (why === 'slow_consumer') this.diagnostics.slowConsumer({ taskId, transport });
    this.diagnostics.disconnected({ taskId, transport, reason: why });
    writer.streamEnded(taskId, why);
  }

  private async pump(subscription: Subscription, writer: StreamWriter): Promise<StreamEnd> {
    if (subscription.lastEventId === subscription.headEventId) writer.caughtUp(subscription);
    for (;;) {
      if (writer.isFull && !(await writer.drained())) return 'slow_consumer';
      const waiting = subscription.ready();
      if (waiting) await waiting;
      if (!this.deliverTaken(subscription, writer)) {
        return writer.why ?? (subscription.isOver ? 'terminal' : 'unsubscribed');
      }
    }
  }

  /**
   * Nothing is kept for a client that is behind: what does not fit is read again when there is room. This is a function of its
   * own because a suspended one would hold what it has taken.
   */
  private deliverTaken(subscription: Subscription, writer: StreamWriter): boolean {
    const { headEventId } = subscription;
    const events = subscription.take();
    if (events === null) return false;
    for (const batch of batches(events ?? [], headEventId)) {
      if (writer.isFull) {
        subscription.rewind(batch.first.eventId - 1);
        break;
      }
      this.deliver(subscription, writer, batch);
      if (batch.last.eventId === headEventId) writer.caughtUp(subscription);
    }
    return true;
  }

  private deliver(subscription: Subscription, writer: StreamWriter, batch: Batch): void {
    writer.send(batch);
    const { events, first, last } = batch;
    const { taskId } = subscription;
    const lastEventId = String(last.eventId);
    this.diagnostics.delivered({ taskId, transport: writer.transport, events: events.length, lastEventId });
    // Once an event and not once a client: one more subscriber costs a comparison.
    if (subscription.isFirstWith(first, last)) {
      const seconds = (Date.now() - Date.parse(first.createdAt)) / 1000;
      this.metrics.observe('commit_to_delivery_seconds', Math.max(0, seconds));
    }
  }

  private beat(writer: StreamWriter): void {
    // What waits to be read is a sign of life of its own.
    if (writer.bufferedBytes > 0) return;
    writer.heartbeat();
    const { taskId, transport } = writer;
    this.diagnostics.heartbeatSent({ ...(taskId !== undefined && { taskId }), transport });
  }
}
