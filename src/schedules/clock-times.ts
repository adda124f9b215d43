import { Cron } from 'croner';

/** When a schedule is due. Five parts, so its ticks are at least 60 s apart. */
export interface Times {
  readonly cron: string;
  /** A name of IANA. */
  readonly timeZone: string;
}

/**
 * What is wrong with the times; undefined when there is a next one. Where a change of the clock skips a time, its tick comes at the
 * change. Where a change repeats a time, a daily tick comes at the first of both, and an hourly one each hour.
 */
export function problemOf(times: Times): { readonly path: keyof Times; readonly message: string } | undefined {
  try {
    new Intl.DateTimeFormat('en', { timeZone: times.timeZone });
  } catch {
    return { path: 'timeZone', message: 'must be a time zone of IANA, such as Europe/Berlin' };
  }
  try {
    if (patternOf(times).nextRun() !== null) return undefined;
    return { path: 'cron', message: 'has no next time' };
  } catch {
    return { path: 'cron', message: 'must be a cron pattern of five parts: minute, hour, day, month, day of the week' };
  }
}

/** The first time after this one; null when there is none. */
export function nextAfter(times: Times, after: Date): Date | null {
  return patternOf(times).nextRun(after);
}

/** The last `count` times before `before` that are not before `from`, oldest first. */
export function lastBefore(times: Times, before: Date, from: Date, count: number): readonly Date[] {
  if (count === 0) return [];
  return patternOf(times)
    .previousRuns(count, before)
    .filter((time) => time >= from)
    .reverse();
}

function patternOf({ cron, timeZone }: Times): Cron {
  return new Cron(cron, { timezone: timeZone, mode: '5-part', paused: true });
}
