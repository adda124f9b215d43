import { Injectable, ServiceUnavailableException } from '@nestjs/common';
import { HealthCheckService, type HealthIndicatorFunction, HealthIndicatorService } from '@nestjs/terminus';
import { DrainState } from '../drain-state.js';
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
    const probed = await this.probe.checkReadiness().catch((): Readiness => ({ ready: false, details: {} }));
    const { details } = probed;
    const ready = await this.isReady(probed);
    this.metrics.set('ready', ready ? 1 : 0, { part: 'all' });
    for (const [part, { status }] of Object.entries(details)) {
      this.metrics.set('ready', status === 'ready' ? 1 : 0, { part });
    }
    if (!this.drain.has('announced')) return { ready, details };
    return { ready, details: { ...details, service: { status: 'draining' } } };
  }

  /** Terminus alone decides. It also reports a shutdown that Nest began itself. */
  private async isReady({ ready, details }: Readiness): Promise<boolean> {
    const parts = Object.entries(details).map(([name, { status }]): HealthIndicatorFunction => {
      const part = this.indicators.check(name);
      if (status === 'ready') return () => part.up();
      // A part that is not ready while the probe is ready does not decide.
      return () => (ready ? part.degraded({ code: status }) : part.down({ code: status }));
    });
    const probe = this.indicators.check('probe');
    const service = this.indicators.check('service');
    const whole = [
      () => (ready ? probe.up() : probe.down()),
      () => (this.drain.has('announced') ? service.down({ code: 'draining' }) : service.up()),
    ];
    try {
      await this.terminus.check([...parts, ...whole]);
      return true;
    } catch (error) {
      if (error instanceof ServiceUnavailableException) return false;
      throw error;
    }
  }
}
