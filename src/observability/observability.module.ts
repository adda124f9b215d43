import { type DynamicModule, Module } from '@nestjs/common';
import { PrometheusModule } from '@willsoto/nestjs-prometheus';
import { LoggerModule } from 'nestjs-pino';
import type { Logger } from 'pino';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { type Hosted, unlessHosted } from '../hosted.js';
import { AccessLog } from './access-log.js';
import { BeforeScrape } from './before-scrape.js';
import { HostFaults } from './host-faults.js';
import { Log } from './log.js';
import { MetricsController } from './metrics.controller.js';
import { MetricsSink } from './metrics-sink.js';
import type { ObservabilityConfig } from './observability.config.js';
import { Observer } from './observer.js';
import { OpsGate } from './ops-gate.js';
import { PrometheusMetricsSink } from './prometheus-metrics-sink.js';
import { PrometheusTransportDiagnosticsSink } from './prometheus-transport-diagnostics-sink.js';
import { logTracingProblems } from './tracing.js';
import { TransportDiagnosticsSink } from './transport-diagnostics-sink.js';

/** Logs, metrics, and the wrapper around every use-case, for all modules. */
@Module({})
export class ObservabilityModule {
  static register(options: { config: ObservabilityConfig; logger: Logger; hosted: Hosted }): DynamicModule {
    if (options.config.otelExporter !== 'none') logTracingProblems(options.logger);
    const providers = [
      { provide: Log, useValue: options.logger },
      { provide: Registry, useFactory: newRegistry },
      { provide: OpsGate, useFactory: () => new OpsGate(options.config.opsPort !== undefined) },
      ...unlessHosted(
        options.hosted,
        { provide: MetricsSink, useClass: PrometheusMetricsSink },
        { provide: TransportDiagnosticsSink, useClass: PrometheusTransportDiagnosticsSink },
      ),
      Observer,
      AccessLog,
      BeforeScrape,
      HostFaults,
    ];
    return {
      module: ObservabilityModule,
      global: true,
      imports: [
        // For the PinoLogger of a host's module. It has no routes: AccessLog writes the one line of a request.
        LoggerModule.forRoot({ pinoHttp: { logger: options.logger }, forRoutes: [] }),
        PrometheusModule.register({ controller: MetricsController, defaultMetrics: { enabled: false } }),
      ],
      providers,
      exports: providers,
    };
  }
}

function newRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}
