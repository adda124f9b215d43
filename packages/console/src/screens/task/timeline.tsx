import type { TaskSnapshot } from '../../../../protocol/src/snapshots.js';
import { isOver } from '../../parts/status.js';
import { Text, visible } from '../../parts/text.js';
import { duration, useNow } from '../../parts/time.js';
import type { Band } from './story.js';

interface Given {
  readonly bands: readonly Band[];
  readonly snapshot: TaskSnapshot;
  /** Whether no event before is missing. */
  readonly isWhole: boolean;
}

const LOOKS = {
  attempt: 'bg-accent',
  step: 'bg-ok',
  question: 'bg-warn',
} as const;

/** More steps than this stand beside each other, in one lane. */
const STEPS_WITH_LANES = 12;

interface Lane {
  readonly name: string;
  readonly bands: readonly Band[];
}

/** Attempts, steps and questions as bands over the time of the task. */
export function Timeline({ bands, snapshot, isWhole }: Given) {
  const isRunning = !isOver(snapshot);
  const clock = useNow();
  const now = isRunning ? clock : Date.parse(snapshot.finishedAt ?? snapshot.updatedAt);
  if (bands.length === 0) return null;
  const begin = isWhole ? Date.parse(snapshot.createdAt) : (bands[0]?.from ?? now);
  const end = bands.reduce((latest, { from, to }) => Math.max(latest, to ?? from), now);
  return (
    <section aria-label="Timeline" className="panel p-4">
      <div className="mb-2 flex flex-wrap items-baseline justify-between gap-2">
        <h2 className="font-semibold">Timeline</h2>
        <span className="text-xs text-soft tabular-nums">
          {duration(end - begin)}
          {!isWhole && ', of the loaded events'}
        </span>
      </div>
      <ol className="space-y-1">
        {lanesOf(bands).map((lane, index) => (
          <li key={index} className="grid grid-cols-[7.5rem_1fr] items-center gap-3 sm:grid-cols-[12rem_1fr_5rem]">
            <Track lane={lane} begin={begin} end={end} />
          </li>
        ))}
      </ol>
    </section>
  );
}

function Track({
  lane: { name, bands },
  begin,
  end,
}: {
  readonly lane: Lane;
  readonly begin: number;
  readonly end: number;
}) {
  const percent = (ms: number) => `${(100 * ms) / Math.max(1, end - begin)}%`;
  const [first] = bands;
  const isLost = bands.length === 1 && first?.outcome === 'lost';
  const total = bands.reduce((sum, { from, to }) => sum + (to ?? end) - from, 0);
  return (
    <>
      <span className={`truncate text-xs ${first?.kind === 'attempt' ? 'font-medium' : 'pl-3 text-soft'}`}>
        <Text short={60}>{name}</Text>
        {isLost && ' (lost)'}
      </span>
      <span className="relative h-3 overflow-hidden rounded-sm bg-sunk">
        {bands.map(({ kind, name, from, to, outcome }, index) => (
          <span
            key={index}
            title={`${visible(name)}: ${duration((to ?? end) - from)}`}
            className={`absolute inset-y-0 min-w-0.5 rounded-sm border-r border-panel ${LOOKS[kind]} ${outcome === 'lost' ? 'opacity-40' : ''}`}
            style={{ left: percent(Math.max(0, from - begin)), width: percent((to ?? end) - Math.max(from, begin)) }}
          />
        ))}
      </span>
      <span className="hidden text-right text-xs text-soft tabular-nums sm:block">{duration(total)}</span>
    </>
  );
}

function lanesOf(bands: readonly Band[]): readonly Lane[] {
  const steps = bands.filter(({ kind }) => kind === 'step');
  const isOneLane = steps.length > STEPS_WITH_LANES;
  const own = isOneLane ? bands.filter(({ kind }) => kind !== 'step') : bands;
  const lanes = own.map((band) => ({ name: band.name, bands: [band] }));
  return isOneLane ? [...lanes, { name: `${steps.length} steps`, bands: steps }] : lanes;
}
