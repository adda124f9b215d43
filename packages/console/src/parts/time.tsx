import { useSyncExternalStore } from 'react';

const CLOCK = new Intl.DateTimeFormat(undefined, {
  ...{ month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit', second: '2-digit' },
});

/** In the zone of the reader, with UTC on hover. */
export function Time({ at }: { readonly at: string }) {
  return (
    <time
      dateTime={at}
      title={`${at.replace('T', ' ').replace('Z', '')} UTC`}
      className="whitespace-nowrap tabular-nums"
    >
      {CLOCK.format(new Date(at))}
    </time>
  );
}

const UNITS = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
] as const;

export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  const at = UNITS.findIndex(([size]) => ms >= size);
  const [size, unit] = UNITS[at] ?? UNITS[3];
  const next = UNITS[at + 1];
  const rest = next && Math.floor((ms % size) / next[0]);
  return `${Math.floor(ms / size)} ${unit}${rest ? ` ${rest} ${next[1]}` : ''}`;
}

let now = Date.now();
const listeners = new Set<() => void>();
setInterval(() => {
  now = Date.now();
  for (const listener of listeners) listener();
}, 1_000);

/** Now, once a second. */
export function useNow(): number {
  return useSyncExternalStore(
    (changed) => {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
    () => now,
  );
}

export function Ago({ at }: { readonly at: string }) {
  const ms = useNow() - Date.parse(at);
  return (
    <time
      dateTime={at}
      title={`${at.replace('T', ' ').replace('Z', '')} UTC`}
      className="whitespace-nowrap tabular-nums"
    >
      {ms < 0 ? `in ${duration(-ms)}` : ms < 1_500 ? 'now' : `${duration(ms)} ago`}
    </time>
  );
}
