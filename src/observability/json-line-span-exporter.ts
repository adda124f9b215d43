import { SpanKind } from '@opentelemetry/api';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import { uuidOf } from './correlation.js';

/** For OTEL_EXPORTER=console. The SDK's own exporter prints a span on thirty lines, and every other line is a JSON object. */
export class JsonLineSpanExporter implements SpanExporter {
  constructor(private readonly write: (line: string) => void = (line) => void process.stdout.write(line)) {}

  export(spans: readonly ReadableSpan[], done: Parameters<SpanExporter['export']>[1]): void {
    for (const span of spans) this.write(`${JSON.stringify(fieldsOf(span))}\n`);
    done({ code: 0 });
  }

  async shutdown(): Promise<void> {}
}

function fieldsOf(span: ReadableSpan): object {
  const { traceId, spanId } = span.spanContext();
  return {
    level: 'info',
    time: new Date(span.startTime[0] * 1000 + span.startTime[1] / 1e6).toISOString(),
    correlation_id: uuidOf(traceId),
    causation_id: null,
    trace_id: traceId,
    span_id: spanId,
    parent_span_id: span.parentSpanContext?.spanId ?? null,
    name: span.name,
    kind: SpanKind[span.kind],
    duration_ms: span.duration[0] * 1000 + span.duration[1] / 1e6,
    status: span.status,
    attributes: span.attributes,
    links: span.links.map((link) => link.context.traceId),
    msg: 'tracing.span',
  };
}
