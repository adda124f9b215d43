import { execFile, spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CLOSE_CODES } from '#protocol/close-codes.js';
import { ERRORS, FAILURES } from '#protocol/errors.js';
import { EVENT_TYPES } from '#protocol/events.js';
import { withMetricsTable, withProtocolTables, withSettingsTable } from '../../.ci/generate.js';
import { SETTINGS } from '../../src/boot/settings.js';
import { HOST_METRICS, METRICS, TRANSPORT_METRICS } from '../../src/observability/metrics.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { type Service, startService, temporaryDirectory } from '../support/service.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');

/** The fenced block behind an HTML comment with these words. */
function markedBlock(page: string, mark: string): string {
  const block = new RegExp(`<!-- ${mark} -->\\n\`\`\`\\w+\\n(.*?)\`\`\``, 's').exec(page)?.[1];
  if (block === undefined) throw new Error(`no block is marked "${mark}"`);
  return block;
}

/** The part of curl that the README uses, for a machine that has only Node and npm. */
const CURL = `
  const { values, positionals } = require('node:util').parseArgs({ allowPositionals: true, options: {
    s: { type: 'boolean', short: 's' }, N: { type: 'boolean', short: 'N' },
    H: { type: 'string', short: 'H', multiple: true }, d: { type: 'string', short: 'd' } } });
  const headers = (values.H ?? []).map((header) => header.split(/: (.*)/s, 2));
  fetch(positionals[0], { headers, ...(values.d && { method: 'POST', body: values.d }) })
    .then(async ({ body }) => { for await (const chunk of body ?? []) process.stdout.write(chunk); });`;

async function pathWithCurl(): Promise<string> {
  const path = process.env['PATH'] ?? '';
  if (spawnSync('curl', ['--version']).status === 0) return path;
  const directory = await temporaryDirectory();
  await writeFile(join(directory, 'curl'), `#!${process.execPath}\n${CURL}`, { mode: 0o755 });
  return `${directory}${delimiter}${path}`;
}

describe('README.md', () => {
  const page = read('README.md');
  let database: TestDatabase;
  let service: Service;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = { DATABASE_URL: database.appUrl, HOST_MODULE: 'examples/first-handler.mjs' };
    service = await startService(env, { lifetime: 'file' });
  });

  afterAll(() => database.drop());

  it.each([
    ['first task', { greeting: 'Hello, Ada!' }],
    ['first handler', { text: 'HELLO!' }],
  ])('has commands for the %s that lead to TASK_COMPLETED as they stand', async (name, result) => {
    const commands = markedBlock(page, `test: ${name}`).replaceAll('http://127.0.0.1:3000', service.url);
    const env = { ...process.env, PATH: await pathWithCurl() };
    const { stdout } = await promisify(execFile)('sh', ['-c', commands], { env, timeout: 20_000 });
    const last = stdout.trim().split('\n').at(-1) ?? '';
    expect(JSON.parse(last.replace(/^data: /, ''))).toMatchObject({ type: 'TASK_COMPLETED', payload: { result } });
  });

  it('shows the whole of examples/first-handler.mjs, ten lines or so', () => {
    const shown = markedBlock(page, 'same as: examples/first-handler.mjs');
    expect(shown).toBe(read('examples/first-handler.mjs'));
    expect(shown.trim().split('\n').length).toBeLessThanOrEqual(10);
  });
});

describe('docs/operations.md', () => {
  it('has the table that `npm run generate` makes of the settings', () => {
    const page = read('docs/operations.md');
    expect(page).toBe(withSettingsTable(page, SETTINGS));
    for (const name of Object.keys(SETTINGS)) expect(page).toContain(`| \`${name}\` |`);
  });

  it('has the table that `npm run generate` makes of the metrics', () => {
    const page = read('docs/operations.md');
    const metrics = { ...METRICS, ...TRANSPORT_METRICS, ...HOST_METRICS };
    expect(page).toBe(withMetricsTable(page, metrics));
    for (const name of Object.keys(metrics)) expect(page).toContain(`| \`taskbridge_${name}\` |`);
  });
});

describe('PROTOCOL.md', () => {
  it('has the tables that `npm run generate` makes of the protocol', () => {
    const page = read('PROTOCOL.md');
    expect(page).toBe(withProtocolTables(page, SETTINGS));
    const codes = Object.values(CLOSE_CODES).map(({ code }) => String(code));
    const rows = [...EVENT_TYPES, ...Object.keys(FAILURES)].map((name) => `| \`${name}\` |`);
    rows.push(...codes.map((code) => `| ${code} |`), ...Object.keys(ERRORS).map((code) => ` | \`${code}\` |`));
    expect(rows.filter((row) => !page.includes(row))).toEqual([]);
  });
});

describe('The documentation', () => {
  const pages = globSync(['*.md', 'docs/**/*.md', 'examples/**/*.md', 'packages/*/*.md'], {
    cwd: root,
    // Packing makes the changelogs of packages.
    exclude: ['**/node_modules/**', 'packages/*/CHANGELOG.md'],
  });

  /** The anchors that GitHub makes of headings. */
  const anchors = (page: string) =>
    [...page.matchAll(/^#+ (.*)$/gm)].map(
      ([, heading = '']) =>
        `#${heading
          .toLowerCase()
          .replace(/[^\p{L}\p{N} _-]/gu, '')
          .replaceAll(' ', '-')}`,
    );

  it.each(pages)('%s has no link that leads nowhere', (path) => {
    const page = read(path).replace(/```.*?```/gs, '');
    const targets = [...page.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '');
    const broken = targets.filter((target) => {
      if (/^https?:/.test(target)) return false;
      const [file = '', anchor] = target.split(/(?=#)/);
      const found = file.startsWith('#') || file === '' ? path : join(dirname(path), file);
      if (!existsSync(join(root, found))) return true;
      const wanted = anchor ?? (file.startsWith('#') ? file : undefined);
      return wanted !== undefined && !anchors(read(found)).includes(wanted);
    });
    expect(broken).toEqual([]);
  });
});
