import { Injectable } from '@nestjs/common';
import { Registry } from 'prom-client';
import type { HostCall } from './host-code.js';
import { Log } from './log.js';
import { HOST_METRICS } from './metrics.js';
import { makeMetrics } from './prometheus-metrics.js';

/** How a host's method failed: it threw, did not answer in time, or returned no valid answer. */
export type HostProblem = 'threw' | 'timeout' | 'nonsense';

/** The service calls a sink thousands of times a second. A sink that always fails still writes one line a minute. */
const QUIET_MS = 60_000;

/** Logs and counts each failure of a host's part to keep the promise of its port. Never throws. */
@Injectable()
export class HostFaults {
  private readonly metrics;
  readonly #told = new Map<string, { readonly at: number; untold: number }>();

  /** Counts in the registry itself: the MetricsSink may be the very port that fails. */
  constructor(
    private readonly log: Log,
    registry: Registry,
  ) {
    this.metrics = makeMetrics(registry, HOST_METRICS);
  }

  report({ port, method }: HostCall, problem: HostProblem, err: unknown): void {
    this.metrics.host_port_failures_total.inc({ port, method, problem });
    const name = `${port}.${method} ${problem}`;
    const told = this.#told.get(name);
    if (told && performance.now() - told.at < QUIET_MS) {
      told.untold += 1;
      return;
    }
    this.#told.set(name, { at: performance.now(), untold: 0 });
    const failures = 1 + (told?.untold ?? 0);
    this.log.error({ port, method, problem, failures, err: err ?? null }, 'host_port.failed');
  }
}
