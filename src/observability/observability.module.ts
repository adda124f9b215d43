import { type DynamicModule, Module } from '@nestjs/common';
import { PrometheusModule } from '@willsoto/nestjs-prometheus';
import { LoggerModule } from 'nestjs-pino';
import type { Logger } from 'pino';
import { register, Registry } from 'prom-client';
import { type Hosted, unlessHosted } from '../hosted.js';
import { AccessLog } from './access-log.js';
import { BeforeScrape } from './before-scrape.js';
import { HostFaults } from './host-faults.js';
import { Log } from './log.js';
import { MetricsController } from './metrics.controller.js';
import { MetricsSink } from './metrics-sink.js';
import { ObservabilityConfig } from './observability.config.js';
import { Observer } from './observer.js';
import { OpsGate } from './ops-gate.js';
import { RecentLines } from './recent-lines.js';
import { PrometheusMetricsSink } from './prometheus-metrics-sink.js';
import { PrometheusTransportDiagnosticsSink } from './prometheus-transport-diagnostics-sink.js';
import { logTracingProblems } from './tracing.js';
import { TransportDiagnosticsSink } from './transport-diagnostics-sink.js';

export interface ObservabilityOptions {
  readonly config: ObservabilityConfig;
  readonly logger: Logger;
  readonly hosted: Hosted;
  /** The registry of metrics. Defaults to that of the Prometheus module, which a host's own metrics use, too. */
  readonly registry?: Registry;
}

/** Logs, metrics, and the wrapper around every use-case, for all modules. */
@Module({})
export class ObservabilityModule {
  static register(options: ObservabilityOptions): DynamicModule {
    const { registry = register } = options;
    if (options.config.otelExporter !== 'none') logTracingProblems(options.logger);
    const providers = [
      { provide: ObservabilityConfig, useValue: options.config },
      { provide: Log, useValue: options.logger },
      { provide: Registry, useValue: registry },
      { provide: OpsGate, useFactory: () => new OpsGate(options.config.opsPort !== undefined) },
      ...unlessHosted(
        options.hosted,
        { provide: MetricsSink, useClass: PrometheusMetricsSink },
        { provide: TransportDiagnosticsSink, useClass: PrometheusTransportDiagnosticsSink },
      ),
      Observer,
      RecentLines,
      AccessLog,
      BeforeScrape,
      HostFaults,
    ];
    return {
      module: ObservabilityModule,
      global: true,
      imports: [
        // For a host that injects it. No routes: AccessLog writes the one line of a request. No serializers: pino-http's would
        // write every member of an error.
        LoggerModule.forRoot({ pinoHttp: { logger: options.logger, wrapSerializers: false }, forRoutes: [] }),
        PrometheusModule.register({
          controller: MetricsController,
          defaultMetrics: { enabled: true, config: { register: registry } },
        }),
      ],
      providers,
      exports: providers,
    };
  }
}
