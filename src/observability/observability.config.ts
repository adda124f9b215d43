/** What operators get to see, and where. */
export abstract class ObservabilityConfig {
  /** A pino level. From LOG_LEVEL. Defaults to `info`. */
  abstract readonly logLevel: string;
  /** Of the lines at the start and the success of a use-case. From LOG_USE_CASES. Defaults to `debug`, `info` in production-like environments. */
  abstract readonly useCaseLevel: 'info' | 'debug';
  /** From OTEL_EXPORTER. Defaults to `none`. */
  abstract readonly otelExporter: 'none' | 'console' | 'otlp';
  /** A second port, for `/metrics` and the details of `/ready`. From OPS_PORT. Absent: they are on PORT. */
  abstract readonly opsPort?: number;
}
