import { accessSync, constants } from 'node:fs';
import { choice, commaList, flag, httpUrl, integer, type Kind, text } from './setting-kinds.js';
import { SETTINGS } from './settings.js';
import type { UnknownSetting } from './unknown-settings.js';

const MILLISECONDS = integer(1, 2 ** 31 - 1);
const COUNT = integer(0, 2 ** 31 - 1);

const FILE: Kind<string> = {
  accepts: 'the path of a file that can be read',
  parse: (path) => {
    try {
      accessSync(path, constants.R_OK);
      return path;
    } catch {
      return undefined;
    }
  },
};

const PAIRS = commaList<string>({
  accepts: 'name=value',
  parse: (pair) => (/^[^=\s]+\s*=/.test(pair) ? pair : undefined),
});

/** JSON is the default, as before. A collector accepts both. */
const PROTOCOL = choice('http/json', 'http/protobuf');

/** Variables of the exporter. Each also exists with TRACES_, which wins. */
const OF_EXPORTER = {
  ENDPOINT: httpUrl,
  PROTOCOL,
  HEADERS: PAIRS,
  TIMEOUT: MILLISECONDS,
  COMPRESSION: choice('none', 'gzip'),
  CERTIFICATE: FILE,
  CLIENT_KEY: FILE,
  CLIENT_CERTIFICATE: FILE,
} as const;

/** The variables of OpenTelemetry that are honoured when OTEL_EXPORTER is otlp. */
const HONOURED: Readonly<Record<string, Kind<unknown>>> = {
  ...Object.fromEntries(
    Object.entries<Kind<unknown>>(OF_EXPORTER).flatMap(([name, kind]) => [
      [`OTEL_EXPORTER_OTLP_${name}`, kind],
      [`OTEL_EXPORTER_OTLP_TRACES_${name}`, kind],
    ]),
  ),
  OTEL_SDK_DISABLED: flag,
  OTEL_RESOURCE_ATTRIBUTES: PAIRS,
  OTEL_PROPAGATORS: commaList(choice('tracecontext', 'baggage')),
  OTEL_TRACES_EXPORTER: choice('otlp'),
  OTEL_METRICS_EXPORTER: choice('none'),
  OTEL_LOGS_EXPORTER: choice('none'),
  OTEL_BSP_SCHEDULE_DELAY: MILLISECONDS,
  OTEL_BSP_EXPORT_TIMEOUT: MILLISECONDS,
  OTEL_BSP_MAX_QUEUE_SIZE: integer(1, 1_000_000),
  OTEL_BSP_MAX_EXPORT_BATCH_SIZE: integer(1, 1_000_000),
  OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: COUNT,
  OTEL_ATTRIBUTE_COUNT_LIMIT: COUNT,
  OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: COUNT,
  OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: COUNT,
  OTEL_SPAN_EVENT_COUNT_LIMIT: COUNT,
  OTEL_SPAN_LINK_COUNT_LIMIT: COUNT,
  // Variables of instrumentations and of tools around the process. They change nothing here.
  OTEL_SEMCONV_STABILITY_OPT_IN: text('names of conventions'),
};

/** The other variables of the specification, and why they are not honoured. */
const REASONS: readonly (readonly [names: RegExp, why: string])[] = [
  [/^OTEL_TRACES_SAMPLER/, 'is not honoured: set OTEL_SAMPLER_RATIO'],
  [/^OTEL_LOG_LEVEL$/, 'is not honoured: what goes wrong with traces is in the log, as tracing.problem'],
  [/METRIC/, 'is not honoured: metrics are at /metrics'],
  [/LOG|BLRP/, 'is not honoured: logs are lines on standard output'],
  [/^OTEL_NODE_/, 'is not honoured: instrumentations and detectors are fixed'],
  [/INSECURE$/, 'is not honoured: the scheme of the endpoint says it'],
  [/^OTEL_EXPORTER_/, 'is not honoured: traces go by OTLP over HTTP'],
  [/^OTEL_/, 'is not honoured'],
];

/** Problems of honoured variables, by name, never with the value. */
export function otlpProblems(env: NodeJS.ProcessEnv): ReadonlyMap<string, string> {
  const problems = new Map<string, string>();
  for (const [name, kind] of Object.entries(HONOURED)) {
    const value = env[name]?.trim();
    if (value && kind.parse(value) === undefined) problems.set(name, `accepts ${kind.accepts}`);
  }
  return problems;
}

/** Variables that are set and would have no effect. */
export function notHonoured(env: NodeJS.ProcessEnv): readonly UnknownSetting[] {
  return Object.entries(env).flatMap(([name, value = '']) => {
    if (!name.startsWith('OTEL_') || value.trim() === '' || name in HONOURED) return [];
    if (name.replace(/_FILE$/, '') in SETTINGS) return [];
    return [{ name, why: REASONS.find(([names]) => names.test(name))?.[1] ?? '' }];
  });
}

export type OtlpProtocol = 'http/json' | 'http/protobuf';

/** The exporter's protocol. Other values are refused elsewhere. */
export function otlpProtocol(env: NodeJS.ProcessEnv): OtlpProtocol {
  const { OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: ofTraces, OTEL_EXPORTER_OTLP_PROTOCOL: ofAll } = env;
  return PROTOCOL.parse(ofTraces?.trim() || ofAll?.trim() || 'http/json') ?? 'http/json';
}
