// `npm run generate`: writes what is made from the tables of settings, of metrics and of the protocol. Tests compare, so nobody can forget it.
import { readFileSync, writeFileSync } from 'node:fs';
import { CLOSE_CODES } from '../packages/protocol/src/close-codes.js';
import { ERROR_KINDS, ERRORS, FAILURES } from '../packages/protocol/src/errors.js';
import { EVENT_TYPES, EVENTS } from '../packages/protocol/src/events.js';
import { FEATURES } from '../packages/protocol/src/features.js';
import { FRAMES } from '../packages/protocol/src/frames.js';
import { expected, listed, type Members } from '../packages/protocol/src/json-schema.js';
import { LIMITS } from '../packages/protocol/src/limits.js';
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

/** The text of PROTOCOL.md, with the tables between their marks made anew. */
export function withProtocolTables(page: string, settings: Readonly<Record<string, Setting>>): string {
  const tables: Readonly<Record<string, readonly string[]>> = {
    events: [
      'type | payload, strings unless it says otherwise | meaning',
      '--- | --- | ---',
      ...EVENT_TYPES.map((type) =>
        [`\`${type}\``, payloadText(EVENTS[type].payload), EVENTS[type].meaning].join(' | '),
      ),
    ],
    failures: [
      '`code` | meaning',
      '--- | ---',
      ...Object.entries(FAILURES).map(([code, meaning]) => `\`${code}\` | ${meaning}`),
      'another code | The author of the handler defines it.',
    ],
    features: [
      'feature | since | meaning',
      '--- | --- | ---',
      ...Object.entries(FEATURES).map(([name, { since, meaning }]) => `\`${name}\` | ${since} | ${meaning}`),
    ],
    'close codes': [
      'code | why | the client',
      '--- | --- | ---',
      ...Object.values(CLOSE_CODES).map(({ code, why, client }) => `${code} | ${why} | ${client}`),
    ],
    frames: framesTable(MULTIPLEX_FRAMES),
    'frames of changes': framesTable(CHANGES_FRAMES),
    errors: [
      'status | code | when',
      '--- | --- | ---',
      ...Object.entries(ERRORS).map(
        ([code, { kind, meaning }]) => `${ERROR_KINDS[kind].status} | \`${code}\` | ${meaning}`,
      ),
    ],
    limits: ['what | limit | setting', '--- | --- | ---', ...LIMITS.map((limit) => limitText(limit, settings))],
  };
  return Object.entries(tables).reduce((made, [name, rows]) => withTable(made, name, rows), page);
}

/** What the multiplex adds to the frames of one task. */
const MULTIPLEX_FRAMES = [
  'CAUGHT_UP',
  'SUBSCRIPTION_ENDED',
  'ERROR',
  'AUTH_EXPIRING',
  'AUTHENTICATED',
  'RECONNECT',
  'multiplexHeartbeat',
] as const;

/** What a feed of changes adds. */
const CHANGES_FRAMES = ['CHANGES_CONFIRMED', 'CHANGE', 'CHANGES_CAUGHT_UP', 'CHANGES_ENDED'] as const;

function payloadText(members: Members): string {
  const texts = Object.entries(members).map(([name, member]) => {
    const isOptional = 'optional' in member;
    const schema = isOptional ? member.optional : member;
    const what = schema.enum ? listed(schema.enum.map((value) => `\`${String(value)}\``)) : expected(schema);
    const [first = '', ...rest] = schema.description?.replace(/\.$/, '') ?? '';
    const said = first === '' ? '' : `, ${first.toLowerCase()}${rest.join('')}`;
    return `\`${name}${isOptional ? '?' : ''}\`${what === 'a string' ? '' : ` ${what}`}${said}`;
  });
  return texts.join('; ');
}

function framesTable(names: readonly (keyof typeof FRAMES)[]): readonly string[] {
  return ['frame | meaning', '--- | ---', ...names.map((name) => `${frameText(name)} | ${FRAMES[name].summary}`)];
}

function frameText(name: keyof typeof FRAMES): string {
  const members = Object.entries(FRAMES[name].members as Members).map(([member, shape]) => {
    if ('optional' in shape) return `"${member}"?`;
    return shape.const === undefined ? `"${member}"` : `"${member}":${JSON.stringify(shape.const)}`;
  });
  return `\`{${members.join(',')}}\``;
}

function limitText(
  { what, bytes, setting, unit, more }: (typeof LIMITS)[number],
  settings: Readonly<Record<string, Setting>>,
): string {
  const value = bytes ?? Number(settings[setting ?? '']?.default);
  const amount =
    bytes !== undefined || unit === 'bytes' ? bytesText(value) : `${grouped(value)}${unit ? ` ${unit}` : ''}`;
  return [what, [amount, ...(more === undefined ? [] : [more])].join('; '), setting ? `\`${setting}\`` : ''].join(
    ' | ',
  );
}

/** 100 000 */
const grouped = (value: number) => String(value).replace(/\B(?=(\d{3})+$)/g, ' ');

function bytesText(bytes: number): string {
  const power = bytes >= 2 ** 30 ? 3 : bytes >= 2 ** 20 ? 2 : 1;
  const amount = bytes / 1024 ** power;
  return Number.isInteger(amount) ? `${amount} ${['KiB', 'MiB', 'GiB'][power - 1]}` : `${grouped(bytes)} bytes`;
}

/** The page, with other rows in the table between the two marks of this name. */
export function withTable(page: string, name: string, rows: readonly string[]): string {
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
  const protocol = new URL('../PROTOCOL.md', import.meta.url);
  writeFileSync(protocol, withProtocolTables(readFileSync(protocol, 'utf8'), SETTINGS));
}
