import { otlpProtocol } from '../boot/otlp-variables.js';
import { adoptFilesOfLibraries, readFiles } from '../boot/setting-files.js';
import { startTracing } from '../observability/tracing.js';

// For `node --import ./dist/telemetry/register.js dist/main.js`: spans of express, pg and ioredis need their patches in place
// before main imports these. That is before main validates the settings. So this reads a few of them itself, and ignores wrong
// values: main refuses them by name a moment later.
// eslint-disable-next-line no-restricted-syntax
const env = process.env;
const files = readFiles(env, ['OTEL_EXPORTER', 'OTEL_SERVICE_NAME', 'OTEL_SAMPLER_RATIO']);
const setting = (name: string) => env[name]?.trim() || files.texts.get(name);

const exporter = setting('OTEL_EXPORTER');
const samplerRatio = Number(setting('OTEL_SAMPLER_RATIO') || 1);

if ((exporter === 'console' || exporter === 'otlp') && samplerRatio >= 0 && samplerRatio <= 1) {
  adoptFilesOfLibraries(env);
  const serviceName = setting('OTEL_SERVICE_NAME') || 'taskbridge';
  await startTracing({ exporter, protocol: otlpProtocol(env), serviceName, samplerRatio });
}
