// `npm run generate`: writes what is made from the tables of settings and of metrics. A test compares, so it cannot be forgotten.
import { readFileSync, writeFileSync } from 'node:fs';
import { SETTINGS, type Setting } from '../src/boot/settings.js';
import { HOST_METRICS, type Metric, METRICS, TRANSPORT_METRICS } from '../src/observability/metrics.js';

/** The text of .env.example. */
export function envExample(settings: Readonly<Record<string, Setting>>): string {
  const head = [
    '# Every setting of TaskBridge, commented out, with its default. Made by `npm run generate` from src/boot/settings.ts.',
    '# Values are trimmed, an empty value means unset. The service reads its environment and no file: hand a copy to it with',
    '# `node --env-file=.env dist/main.js` or `docker run --env-file .env`.',
  ];
  const entries = Object.entries(settings).map(([name, setting]) => [
    `# ${setting.meaning.charAt(0).toUpperCase()}${setting.meaning.slice(1)}.`,
    `# Accepts ${setting.kind.accepts}.`,
    ...(setting.unset === undefined ? [] : [`# Unset: ${setting.unset}.`]),
    ...(setting.productionDefault === undefined
      ? []
      : [`# In production-like environments the default is ${setting.productionDefault}.`]),
    `#${name}=${setting.default ?? ''}`,
  ]);
  return `${[head, ...entries].map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

/** The text of docs/operations.md, with the table between its two marks made anew. */
export function withSettingsTable(page: string, settings: Readonly<Record<string, Setting>>): string {
  const rows = Object.entries(settings).map(([name, setting]) =>
    [`\`${name}\``, defaultOf(setting), setting.kind.accepts, setting.meaning].join(' | '),
  );
  return withTable(page, 'settings', ['setting | default | accepts | meaning', '--- | --- | --- | ---', ...rows]);
}

/** The same of the metrics, under the names that Prometheus sees. */
export function withMetricsTable(page: string, metrics: Readonly<Record<string, Metric>>): string {
  const rows = Object.entries(metrics).map(([name, { kind, labels, help }]) =>
    [`\`taskbridge_${name}\``, kind, labels.map((label) => `\`${label}\``).join(', '), help].join(' | '),
  );
  return withTable(page, 'metrics', ['metric | kind | labels | meaning', '--- | --- | --- | ---', ...rows]);
}

function withTable(page: string, name: string, rows: readonly string[]): string {
  return page.replace(
    new RegExp(`(<!-- ${name}: .*? -->\\n).*(<!-- end of ${name} -->)`, 's'),
    (_, begin: string, end: string) => `${begin}${rows.map((row) => `| ${row} |`).join('\n')}\n${end}`,
  );
}

function defaultOf({ default: standard, productionDefault, unset }: Setting): string {
  if (standard === undefined) return `unset: ${unset}`;
  return productionDefault === undefined
    ? `\`${standard}\``
    : `\`${standard}\`; production-like: \`${productionDefault}\``;
}

if (import.meta.main) {
  const operations = new URL('../docs/operations.md', import.meta.url);
  writeFileSync(new URL('../.env.example', import.meta.url), envExample(SETTINGS));
  const page = withSettingsTable(readFileSync(operations, 'utf8'), SETTINGS);
  writeFileSync(operations, withMetricsTable(page, { ...METRICS, ...TRANSPORT_METRICS, ...HOST_METRICS }));
}
