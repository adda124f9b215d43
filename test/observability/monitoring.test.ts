import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { HOST_METRICS, METRICS, TRANSPORT_METRICS } from '../../src/observability/metrics.js';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { type DebianProgram, debianProgram, type Program } from '../support/debian.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { parsePromql } from '../support/promql.js';
import { startRedis } from '../support/redis.js';
import { startService } from '../support/service.js';

const directory = fileURLToPath(new URL('../../deploy/', import.meta.url));
const PROMTOOL: DebianProgram = {
  name: 'promtool',
  variable: 'TEST_PROMTOOL',
  packages: ['prometheus'],
  path: 'usr/bin/promtool',
};

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook_url: string };
}

interface Dashboard {
  readonly uid: string;
  readonly panels: readonly { readonly title: string; readonly type: string; readonly targets?: { expr: string }[] }[];
}

const read = (path: string) => readFileSync(join(directory, path), 'utf8');
const { groups } = parse(read('prometheus/alerts.yml')) as { groups: { rules: Alert[] }[] };
const alerts = groups.flatMap(({ rules }) => rules);
const dashboard = JSON.parse(read('grafana/dashboards/taskbridge.json')) as Dashboard;
const expressions: [where: string, expr: string][] = [
  ...alerts.map(({ alert, expr }): [string, string] => [alert, expr]),
  ...dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }, n): [string, string] => [`${title} ${n + 1}`, expr]),
  ),
];

/** By name: the values of each label that a scrape has shown. */
type Scraped = ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<string>>>;

describe('What is monitored', () => {
  let database: TestDatabase;
  let scraped: Scraped;

  beforeAll(async () => {
    database = await createTestDatabase();
    const redis = await startRedis();
    const env = { DATABASE_URL: database.appUrl, REDIS_URL: redis.url, OPS_PORT: '0' };
    const service = await startService(env);
    await someWork(newPrincipal(service.url));
    const opsUrl = /"ops_url":"([^"]+)"/.exec(service.stdout())?.[1];
    scraped = scrapedFrom(await (await fetch(`${opsUrl}/metrics`)).text());
    await service.stop();
  }, 300_000);

  afterAll(() => database.drop());

  it.each(expressions)('by %s is in the /metrics of a service, every name and label of it', (_where, expr) => {
    const { selectors, groupedBy } = parsePromql(expr);
    expect(selectors.length).toBeGreaterThan(0);
    for (const { metric, labels } of selectors) {
      // Prometheus itself says whether it could scrape.
      const known = metric === 'up' ? new Map<string, Set<string>>() : scraped.get(metric);
      expect({ metric, isScraped: known !== undefined }).toEqual({ metric, isScraped: true });
      for (const { name, equals } of labels.filter(({ name }) => !['job', 'instance'].includes(name))) {
        expect([...labelsOf(metric, known)]).toContain(name);
        if (equals !== undefined) expect([...(known?.get(name) ?? [])]).toContain(equals);
      }
      for (const name of groupedBy) expect([...labelsOf(metric, known)]).toContain(name);
    }
  });
});

describe('The alert rules', () => {
  let promtool: Program;

  beforeAll(async () => {
    promtool = await debianProgram(PROMTOOL);
  }, 300_000);

  it.each([
    ['check', 'rules', 'alerts.yml'],
    ['check', 'config', 'prometheus.yml'],
    ['test', 'rules', 'alerts.test.yml'],
  ])('pass `promtool %s %s`', async (...args) => {
    const { stdout } = await promisify(execFile)(promtool.binary, args, { cwd: join(directory, 'prometheus') });
    expect(stdout).toContain('SUCCESS');
  });

  it('fire, each and all, on the day on which everything goes wrong', () => {
    // promtool has seen exactly this number of alerts fire.
    const { tests } = parse(read('prometheus/alerts.test.yml')) as {
      tests: { promql_expr_test: { exp_samples: { value: number }[] }[]; input_series: { series: string }[] }[];
    };
    const firing = tests.map(({ promql_expr_test: [test] }) => test?.exp_samples[0]?.value ?? 0);
    expect(firing).toEqual([alerts.length, 0]);
    expect(new Set(alerts.map(({ alert }) => alert)).size).toBe(alerts.length);
  });

  it.each(alerts.map((rule): [string, Alert] => [rule.alert, rule]))(
    '%s has its section in the runbook',
    (name, rule) => {
      const page = readFileSync(join(directory, '../docs/operations.md'), 'utf8');
      expect(rule.annotations.runbook_url).toBe(`docs/operations.md#${name.toLowerCase()}`);
      expect(['critical', 'warning']).toContain(rule.labels.severity);
      expect([...page.matchAll(/^### (.*)$/gm)].map((heading) => heading[1])).toContain(name);
    },
  );
});

/** Causes a sample of every metric with labels that needs no failure. */
async function someWork(client: Client): Promise<void> {
  const { body } = await client.create({ clientRequestId: uniqueId(), taskType: 'demo.greet', input: { stepMs: 1 } });
  const stream = await fetch(`${client.url}/api/v1/tasks/${body.taskId}/events/stream`, { headers: client.headers });
  await stream.text();
}

function scrapedFrom(text: string): Scraped {
  const metrics = new Map<string, Map<string, Set<string>>>();
  for (const line of text.split('\n')) {
    const [, type, kind] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    const [, name = type, labels = ''] = /^([a-z]\w*)(?:\{(.*)\})? \S+$/.exec(line) ?? [];
    if (name === undefined || kind === 'histogram') continue;
    const values = metrics.get(name) ?? new Map<string, Set<string>>();
    metrics.set(name, values);
    for (const [, label = '', value = ''] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
      values.set(label, (values.get(label) ?? new Set()).add(value));
    }
  }
  return metrics;
}

/** A metric that nothing has been counted under yet has only its name in a scrape; its labels are in the catalogue. */
function labelsOf(metric: string, scraped: ReadonlyMap<string, unknown> | undefined): ReadonlySet<string> {
  const declared = { ...METRICS, ...TRANSPORT_METRICS, ...HOST_METRICS }[
    metric.replace(/^taskbridge_/, '') as keyof typeof METRICS
  ];
  return new Set([...(scraped?.keys() ?? []), ...(declared?.labels ?? []), 'job', 'instance']);
}
