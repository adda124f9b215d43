import { cpus, loadavg } from 'node:os';
import { type Goal, type Limit, meets } from './goal.js';
import type { Outcome } from './measure.js';
import { median } from './median.js';

const COLUMNS = [
  ['goal', 5],
  ['what', 38],
  ['against', 32],
  ['ours', 12],
  ['yardstick', 12],
  ['unit', 20],
  ['ratio', 6],
  ['from..to', 11],
  ['gate', 7],
  ['stretch', 8],
] as const;

export function tableHead(): string {
  return row(COLUMNS.map(([name]) => name));
}

export function tableRow(goal: Goal, { ours, yardstick, ratio, before }: Outcome): string {
  const judged = goal.judged === 'ratio' ? ratio.median : ours.median;
  const cells = [
    ...[goal.name, goal.title, goal.against, short(ours.median), short(yardstick.median), goal.unit],
    ...[short(ratio.median), `${short(ratio.lowest)}..${short(ratio.highest)}`],
    ...[verdict(goal.gate, judged), verdict(goal.stretch, judged)],
  ];
  return `${row(cells)}${before ? `  ${short(before.ratio)} of the build before` : ''}`;
}

/** The settings of the yardstick, the medians of each side's further figures, and what was measured beside. */
export function details(goal: Goal, { ours, yardstick, before, beside = {} }: Outcome): string[] {
  const names = Object.keys(ours.repetitions[0] ?? {}).filter((name) => name !== 'figure');
  const middle = (side: Outcome['ours'], name: string) =>
    short(median(side.repetitions.map((found) => found[name] ?? Number.NaN)));
  return [
    ...(goal.settings === undefined ? [] : [goal.settings]),
    ...names.map((name) => {
      const earlier = before ? `, the build before ${middle(before, name)}` : '';
      return `${name}: ${middle(ours, name)}, yardstick ${middle(yardstick, name)}${earlier}`;
    }),
    ...Object.entries(beside).flatMap(([settings, other]) => [
      settings,
      `  ${short(other.median)} ${goal.unit}, ours is ${short(other.ratio)} of it`,
      ...names.map((name) => `  ${name}: ${middle(other, name)}`),
    ]),
  ].map((line) => `        ${line}`);
}

/** The machine and the date, without which a figure means nothing. */
export function circumstances(build: string): object {
  return {
    date: new Date().toISOString(),
    cores: cpus().length,
    processor: cpus()[0]?.model,
    node: process.version,
    loadAverage: loadavg()[0],
    build,
  };
}

function verdict(limit: Limit | undefined, value: number): string {
  if (!limit) return '';
  const bound = 'atLeast' in limit ? `≥${limit.atLeast}` : `≤${limit.atMost}`;
  return `${bound} ${meets(limit, value) ? 'ok' : 'NO'}`;
}

function short(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (Math.abs(value) >= 1000) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}

function row(cells: readonly string[]): string {
  return COLUMNS.map(([, width], at) => (cells[at] ?? '').padEnd(width))
    .join(' ')
    .trimEnd();
}
