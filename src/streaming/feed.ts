import type { Log } from '../observability/log.js';
import type { MetricsSink } from '../observability/metrics-sink.js';
import type { TransportDiagnosticsSink } from '../observability/transport-diagnostics-sink.js';
import { runInStory, type Story } from '../observability/correlation.js';
import { TaskNotFound } from '../tasks/domain/tasks.errors.js';
import type { Batch } from '../following/batches.js';
import type { StreamEnd } from './connection.js';
import type { StreamWriter } from './stream-writer.js';
import type { Subscription } from '../following/subscription.js';

export interface Sinks {
  readonly metrics: MetricsSink;
  readonly diagnostics: TransportDiagnosticsSink;
  readonly log: Log;
}

/**
 * One stream in progress. In the turn in which the head moved, it moves events from the subscription to the writer, until the
 * client has enough to read or no event is left. It is no loop with promises: one promise for each event and client cost an
 * eighth of a delivery.
 */
export class Feed {
  /** `waits`: for the client to read, or for a page of the log. */
  #state: 'flows' | 'waits' | 'over' = 'flows';
  readonly #flow = () => this.flow();

  constructor(
    private readonly subscription: Subscription,
    private readonly writer: StreamWriter,
    /** Frees the stream's place. */
    private readonly release: () => void,
    private readonly story: Story,
    private readonly sinks: Sinks,
  ) {}

  begin(): void {
    const { subscription, writer } = this;
    if (subscription.lastEventId === subscription.headEventId) writer.caughtUp(subscription);
    subscription.watch(this.#flow);
    writer.atEnd(this.#flow);
    this.flow();
  }

  private flow(): void {
    const { subscription, writer } = this;
    try {
      if (writer.why) this.end(writer.why);
      while (this.#state === 'flows') {
        writer.judgeCredential();
        if (writer.why) return this.end(writer.why);
        if (writer.isFull) return this.after(this.room());
        const taken = subscription.take();
        if (taken === null) this.end(subscription.isOver ? 'terminal' : 'unsubscribed');
        else if (taken !== undefined) this.deliver(taken);
        else if (subscription.isBehind) this.after(subscription.read());
        else return;
      }
    } catch (error) {
      this.fail(error);
    }
  }

  /** Nothing is kept for a slow client. What does not fit is read again when there is room. */
  private deliver(taken: readonly Batch[]): void {
    const { subscription, writer } = this;
    for (const batch of taken) {
      if (writer.isFull) return subscription.rewind(batch.first.eventId - 1);
      writer.send(batch);
      this.count(batch);
      if (batch.last.eventId === subscription.headEventId) writer.caughtUp(subscription);
    }
  }

  private count(batch: Batch): void {
    const { events, first, last } = batch;
    const { taskId } = this.subscription;
    const { transport } = this.writer;
    this.sinks.diagnostics.delivered({ taskId, transport, events: events.length, lastEventId: String(last.eventId) });
    // Measured once for each event, not for each client: one more subscriber costs a comparison.
    if (!this.subscription.isFirstWith(batch)) return;
    this.subscription.delivered(batch);
    const seconds = (Date.now() - Date.parse(first.createdAt)) / 1000;
    this.sinks.metrics.observe('commit_to_delivery_seconds', Math.max(0, seconds));
  }

  private async room(): Promise<void> {
    if (!(await this.writer.drained())) this.end('slow_consumer');
  }

  /** Continues when that is done. */
  private after(done: Promise<void>): void {
    this.#state = 'waits';
    done.then(
      () => {
        if (this.#state === 'waits') this.#state = 'flows';
        this.flow();
      },
      (error: unknown) => this.fail(error),
    );
  }

  private fail(error: unknown): void {
    this.end(error instanceof TaskNotFound ? 'removed' : 'failed', error);
  }

  /** Only the first call counts. */
  private end(why: StreamEnd, error?: unknown): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    const { subscription, writer, sinks } = this;
    const { taskId } = subscription;
    const { transport } = writer;
    // The head moved in the story of other work.
    runInStory(this.story, () => {
      if (why === 'failed') sinks.log.error({ taskId, transport, err: error }, 'stream.failed');
      writer.forget(this.#flow);
      subscription.close();
      this.release();
      if (why === 'slow_consumer') sinks.diagnostics.slowConsumer({ taskId, transport });
      sinks.diagnostics.disconnected({ taskId, transport, reason: why });
      writer.streamEnded(taskId, why);
    });
  }
}
