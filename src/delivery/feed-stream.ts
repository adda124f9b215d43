import { Injectable } from '@nestjs/common';
import { currentStory, storyFrom } from '../observability/correlation.js';
import { Log } from '../observability/log.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { TransportDiagnosticsSink } from '../observability/transport-diagnostics-sink.js';
import { DeliveryConfig } from './delivery.config.js';
import { Feed, type Sinks } from './feed.js';
import type { StreamWriter } from './stream-writer.js';
import type { Subscription } from './subscription.js';

/** Brings what a subscription yields to the client, as fast as the client reads and no faster. */
@Injectable()
export class FeedStream {
  readonly #sinks: Sinks;

  constructor(
    private readonly config: DeliveryConfig,
    metrics: MetricsSink,
    diagnostics: TransportDiagnosticsSink,
    log: Log,
  ) {
    this.#sinks = { metrics, diagnostics, log };
  }

  /**
   * From now until the task, the subscription or the connection is over, which is then told to the writer. `release` is called
   * right before that.
   */
  execute(subscription: Subscription, writer: StreamWriter, release: () => void): void {
    writer.onSilence(this.config.heartbeatSeconds * 1000, () => this.beat(writer));
    new Feed(subscription, writer, release, currentStory() ?? storyFrom(undefined), this.#sinks).begin();
  }

  private beat(writer: StreamWriter): void {
    // What waits to be read is a sign of life of its own.
    if (writer.bufferedBytes > 0) return;
    writer.heartbeat();
    const { taskId, transport } = writer;
    this.#sinks.diagnostics.heartbeatSent({ ...(taskId !== undefined && { taskId }), transport });
  }
}
