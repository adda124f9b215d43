// Whether the replica is ready, and what is counted.
import { Inject, Injectable } from '@nestjs/common';
import {
  AttachmentsReadinessProbe,
  CompositeReadinessProbe,
  type CounterName,
  ExecutorReadinessProbe,
  type GaugeName,
  type HistogramName,
  type LabelsOf,
  Log,
  MetricsSink,
  PostgresReadinessProbe,
  PrometheusMetricsSink,
  PrometheusTransportDiagnosticsSink,
  type Readiness,
  ReadinessProbe,
  RedisReadinessProbe,
  TransportDiagnosticsSink,
} from 'taskbridge';
import { Asked } from './asked.js';

/** A probe of our own: whether the service answers that our handlers need. */
@Injectable()
export class StockProbe extends ReadinessProbe {
  constructor(private readonly asked: Asked) {
    super();
  }

  override async checkReadiness(): Promise<Readiness> {
    this.asked.note('ReadinessProbe.checkReadiness');
    const ready = await fetch(process.env['STOCK_URL'] ?? '').then(
      ({ ok }) => ok,
      () => false,
    );
    return { ready, details: { stock: { status: ready ? 'ready' : 'not_ready' } } };
  }
}

/** The probes of the service, and ours. The names are what `/ready` shows. */
export const readiness = {
  provide: ReadinessProbe,
  useFactory: (
    log: Log,
    postgres: PostgresReadinessProbe,
    executor: ExecutorReadinessProbe,
    attachments: AttachmentsReadinessProbe,
    stock: StockProbe,
    redis?: RedisReadinessProbe,
  ) => new CompositeReadinessProbe({ postgres, ...(redis && { redis }), executor, attachments, stock }, { log }),
  inject: [
    Log,
    PostgresReadinessProbe,
    ExecutorReadinessProbe,
    AttachmentsReadinessProbe,
    StockProbe,
    // There is one when REDIS_URL is set.
    { token: RedisReadinessProbe, optional: true },
  ],
};

/** Tells Prometheus and us. */
@Injectable()
export class BothMetrics extends MetricsSink {
  constructor(
    @Inject(PrometheusMetricsSink) private readonly prometheus: MetricsSink,
    private readonly asked: Asked,
  ) {
    super();
  }

  override increment<Name extends CounterName>(counter: Name, ...labels: LabelsOf<Name>): void {
    this.asked.note('MetricsSink.increment');
    this.prometheus.increment(counter, ...labels);
  }

  override adjust<Name extends GaugeName>(gauge: Name, delta: number, ...labels: LabelsOf<Name>): void {
    this.asked.note('MetricsSink.adjust');
    this.prometheus.adjust(gauge, delta, ...labels);
  }

  override set<Name extends GaugeName>(gauge: Name, value: number, ...labels: LabelsOf<Name>): void {
    this.asked.note('MetricsSink.set');
    this.prometheus.set(gauge, value, ...labels);
  }

  override observe<Name extends HistogramName>(histogram: Name, seconds: number, ...labels: LabelsOf<Name>): void {
    this.asked.note('MetricsSink.observe');
    this.prometheus.observe(histogram, seconds, ...labels);
  }
}

/** The same for what happens between the log and its clients. */
export const diagnostics = {
  provide: TransportDiagnosticsSink,
  useFactory: (prometheus: TransportDiagnosticsSink, asked: Asked): TransportDiagnosticsSink => {
    const noted =
      <Facts>(method: keyof TransportDiagnosticsSink, tell: (facts: Facts) => void) =>
      (facts: Facts) => {
        asked.note(`TransportDiagnosticsSink.${method}`);
        tell(facts);
      };
    return {
      replayStarted: noted('replayStarted', (replay) => prometheus.replayStarted(replay)),
      delivered: noted('delivered', (delivery) => prometheus.delivered(delivery)),
      heartbeatSent: noted('heartbeatSent', (heartbeat) => prometheus.heartbeatSent(heartbeat)),
      disconnected: noted('disconnected', (disconnect) => prometheus.disconnected(disconnect)),
      holeHealed: noted('holeHealed', (hole) => prometheus.holeHealed(hole)),
      slowConsumer: noted('slowConsumer', (consumer) => prometheus.slowConsumer(consumer)),
    };
  },
  inject: [PrometheusTransportDiagnosticsSink, Asked],
};
