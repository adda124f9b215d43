import { Injectable, ServiceUnavailableException } from '@nestjs/common';
import { HealthCheckService, type HealthIndicatorFunction, HealthIndicatorService } from '@nestjs/terminus';
import { DrainState } from '../http/drain-state.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { type Readiness, ReadinessProbe } from './readiness-probe.js';

/** Whether this replica should get requests, in one place for `/ready` and for scrapes. */
@Injectable()
export class ServiceReadiness {
  constructor(
    private readonly probe: ReadinessProbe,
    private readonly drain: DrainState,
    private readonly metrics: MetricsSink,
    private readonly terminus: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
  ) {}

  /** Never rejects. */
  async check(): Promise<Readiness> {
    const { ready: probed, details } = await this.probed();
    const ready = await this.judge({ ready: probed, details });
    this.metrics.set('ready', ready ? 1 : 0, { part: 'all' });
    for (const [part, { status }] of Object.entries(details)) {
      this.metrics.set('ready', status === 'ready' ? 1 : 0, { part });
    }
    if (!this.drain.draining) return { ready, details };
    return { ready, details: { ...details, service: { status: 'draining' } } };
  }

  private async probed(): Promise<Readiness> {
    const { ready, details } = await this.probe
      .checkReadiness()
      .catch((): Readiness => ({ ready: false, details: {} }));
    return { ready: ready && !this.drain.draining, details };
  }

  /** Terminus also reports a shutdown that Nest began itself. */
  private async judge({ ready, details }: Readiness): Promise<boolean> {
    const indicators = Object.entries(details).map(([name, { status }]): HealthIndicatorFunction => {
      const indicator = this.indicators.check(name);
      if (status === 'ready') return () => indicator.up();
      return () => (ready ? indicator.degraded({ code: status }) : indicator.down({ code: status }));
    });
    try {
      await this.terminus.check(indicators);
      return ready;
    } catch (error) {
      if (error instanceof ServiceUnavailableException) return false;
      throw error;
    }
  }
}
