import { Injectable } from '@nestjs/common';
import { Registry } from 'prom-client';
import { BeforeScrape } from './before-scrape.js';
import { TRANSPORT_METRICS } from './metrics.js';
import { makeMetrics } from './prometheus-metrics.js';
import { TransportDiagnosticsSink } from './transport-diagnostics-sink.js';

/** Counts, and drops the ids: a label per task would be a time series per task. */
@Injectable()
export class PrometheusTransportDiagnosticsSink extends TransportDiagnosticsSink {
  private readonly metrics;
  /** Since the last scrape, by transport: prom-client makes a text of the labels each time, and this is called for each delivery. */
  readonly #delivered = new Map<string, number>();

  constructor(registry: Registry, beforeScrape: BeforeScrape) {
    super();
    this.metrics = makeMetrics(registry, TRANSPORT_METRICS);
    beforeScrape.add(() => this.countDelivered());
  }

  override replayStarted(): void {
    this.metrics.replays_total.inc();
  }

  override delivered({ transport, events }: { transport: string; events: number }): void {
    this.#delivered.set(transport, (this.#delivered.get(transport) ?? 0) + events);
  }

  override heartbeatSent({ transport }: { transport: string }): void {
    this.metrics.heartbeats_total.inc({ transport });
  }

  override disconnected({ transport, reason }: { transport: string; reason: string }): void {
    this.metrics.disconnects_total.inc({ transport, reason });
  }

  override holeHealed(): void {
    this.metrics.live_log_gaps_healed_total.inc();
  }

  override slowConsumer({ transport }: { transport: string }): void {
    this.metrics.slow_consumer_closes_total.inc({ transport });
  }

  private async countDelivered(): Promise<void> {
    for (const [transport, events] of this.#delivered) this.metrics.events_delivered_total.inc({ transport }, events);
    this.#delivered.clear();
  }
}
