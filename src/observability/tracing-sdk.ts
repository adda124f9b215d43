import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { ExpressInstrumentation, ExpressLayerType } from '@opentelemetry/instrumentation-express';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { IORedisInstrumentation } from '@opentelemetry/instrumentation-ioredis';
import { PgInstrumentation } from '@opentelemetry/instrumentation-pg';
import { envDetector, hostDetector } from '@opentelemetry/resources';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { ParentBasedSampler, SimpleSpanProcessor, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace';
import { register } from 'import-in-the-middle/register-hooks.mjs';
import { JsonLineSpanExporter } from './json-line-span-exporter.js';
import { isProbeOrScrape } from './ops-gate.js';

export interface TracingOptions {
  readonly exporter: 'console' | 'otlp';
  /** The protocol of the exporter otlp. */
  readonly protocol: 'http/json' | 'http/protobuf';
  readonly serviceName: string;
  /** 0 to 1: the share of traces that is recorded. */
  readonly samplerRatio: number;
}

export interface RunningTracing {
  shutdown(): Promise<void>;
}

/** Imported by startTracing only. It names the modules to patch, so no other module pays for the hooks. */
export function startSdk(options: TracingOptions): RunningTracing {
  // Synchronous hooks, in this thread: the asynchronous ones cost two seconds of start and 100 MB.
  register({ include: ['http', 'https', 'node:http', 'node:https', 'express', 'pg', 'pg-pool', 'ioredis'] });
  const sdk = new NodeSDK({
    serviceName: options.serviceName,
    sampler: samplerOf(options.samplerRatio),
    ...(options.exporter === 'otlp'
      ? { traceExporter: options.protocol === 'http/json' ? new JsonExporter() : new ProtobufExporter() }
      : { spanProcessors: [new SimpleSpanProcessor({ exporter: new JsonLineSpanExporter() })] }),
    // Traces only: metrics are Prometheus', logs are pino's. Left out, both would be exported by default.
    metricReaders: [],
    logRecordProcessors: [],
    // Not the process detector: it publishes the command line and the user's name.
    resourceDetectors: [envDetector, hostDetector],
    instrumentations: [
      new HttpInstrumentation({
        ignoreIncomingRequestHook: ({ url }) => isProbeOrScrape(url),
        requireParentforOutgoingSpans: true,
        // Query values of clients do not belong into traces.
        startIncomingSpanHook: () => ({ 'url.query': undefined }),
      }),
      new ExpressInstrumentation({ ignoreLayersType: [ExpressLayerType.MIDDLEWARE] }),
      // Only within a story: polling would make a trace of its own each second.
      new PgInstrumentation({ requireParentSpan: true }),
      new IORedisInstrumentation({ requireParentSpan: true }),
    ],
  });
  sdk.start();
  return sdk;
}

/**
 * Decided by the trace id alone, so that work which continues a task later is recorded with its trace or not at all. A
 * caller's "not sampled" is obeyed.
 */
function samplerOf(ratio: number): ParentBasedSampler {
  const byTraceId = new TraceIdRatioBasedSampler(ratio);
  return new ParentBasedSampler({ root: byTraceId, remoteParentSampled: byTraceId });
}
