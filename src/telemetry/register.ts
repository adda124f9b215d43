import { startTracing } from '../observability/tracing.js';

// For `node --import ./dist/telemetry/register.js dist/main.js`: spans of express, pg and ioredis need their patches in
// place before main imports these. That is also before main validates the settings, so this reads three of them on its own
// and is silent about values that are wrong: main refuses to serve with them a moment later, by name.
// eslint-disable-next-line no-restricted-syntax
const { OTEL_EXPORTER, OTEL_SERVICE_NAME, OTEL_SAMPLER_RATIO } = process.env;

const exporter = OTEL_EXPORTER?.trim();
const samplerRatio = Number(OTEL_SAMPLER_RATIO?.trim() || 1);

if ((exporter === 'console' || exporter === 'otlp') && samplerRatio >= 0 && samplerRatio <= 1) {
  await startTracing({ exporter, serviceName: OTEL_SERVICE_NAME?.trim() || 'taskbridge', samplerRatio });
}
