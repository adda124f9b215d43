import { Injectable } from '@nestjs/common';
import { currentStory, storyFrom } from '../observability/correlation.js';
import { Log } from '../observability/log.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { TransportDiagnosticsSink } from '../observability/transport-diagnostics-sink.js';
import { StreamingConfig } from './streaming.config.js';
import { Feed, type Sinks } from './feed.js';
import type { StreamWriter } from './stream-writer.js';
import type { Subscription } from '../following/subscription.js';

/** Brings the events of a subscription to the client, as fast as the client reads and no faster. */
@Injectable()
export class FeedStream {
  readonly #sinks: Sinks;

  constructor(
    private readonly config: StreamingConfig,
    metrics: MetricsSink,
    diagnostics: TransportDiagnosticsSink,
    log: Log,
  ) {
    this.#sinks = { metrics, diagnostics, log };
  }

  /**
   * Feeds the writer until the task, the subscription or the connection is over. Then it calls `release`, and reports the end to
   * the writer. A multiplexed connection has a feed for each of its tasks.
   */
  execute(subscription: Subscription, writer: StreamWriter, release: () => void): void {
    writer.onSilence(this.config.heartbeatSeconds * 1000, () => this.beat(writer));
    new Feed(subscription, writer, release, currentStory() ?? storyFrom(undefined), this.#sinks).begin();
  }

  private beat(writer: StreamWriter): void {
    // Unread bytes are a sign of life themselves.
    if (writer.bufferedBytes > 0) return;
    writer.heartbeat();
    const { taskId, transport } = writer;
    this.#sinks.diagnostics.heartbeatSent({ ...(taskId !== undefined && { taskId }), transport });
  }
}
