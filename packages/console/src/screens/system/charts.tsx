import { useQuery } from '@tanstack/react-query';
import { numbers, type Point } from '../../service/system.js';
import { Chart, type Line } from './chart.js';

const CHARTS: readonly { readonly title: string; readonly unit: string; readonly lines: readonly Line<Point>[] }[] = [
  {
    title: 'Tasks',
    unit: '',
    lines: [
      { name: 'waiting', color: '--color-soft', of: ({ tasks }) => tasks?.waiting },
      { name: 'held', color: '--color-warn', of: ({ tasks }) => tasks?.held },
      { name: 'running', color: '--color-accent', of: ({ tasks }) => tasks?.running },
      { name: 'suspended', color: '--color-ok', of: ({ tasks }) => tasks?.suspended },
      { name: 'aside', color: '--color-bad', of: ({ tasks }) => tasks?.aside },
    ],
  },
  {
    title: 'Append',
    unit: 'ms',
    lines: [
      { name: 'p50', color: '--color-accent', of: ({ append }) => append?.p50Ms },
      { name: 'p95', color: '--color-warn', of: ({ append }) => append?.p95Ms },
      { name: 'p99', color: '--color-bad', of: ({ append }) => append?.p99Ms },
    ],
  },
  {
    title: 'Delivery',
    unit: 'ms',
    lines: [
      { name: 'p50', color: '--color-accent', of: ({ delivery }) => delivery?.p50Ms },
      { name: 'p95', color: '--color-warn', of: ({ delivery }) => delivery?.p95Ms },
      { name: 'p99', color: '--color-bad', of: ({ delivery }) => delivery?.p99Ms },
    ],
  },
  {
    title: 'Streams',
    unit: '',
    lines: [{ name: 'open', color: '--color-accent', of: ({ streams }) => streams }],
  },
];

/** The last quarter of an hour of the replica that answers, from its own numbers. */
export function Charts() {
  const query = useQuery(numbers);
  // The readiness above says why nothing is there.
  if (!query.data) return null;
  return (
    <div className="grid gap-4 xl:grid-cols-2">
      {CHARTS.map((chart) => (
        <Chart key={chart.title} {...chart} points={query.data.points} />
      ))}
    </div>
  );
}
