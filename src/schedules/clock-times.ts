import { Cron } from 'croner';

/** When a schedule is due. Five parts, so its ticks are at least 60 s apart. */
export interface Times {
  readonly cron: string;
  /** A name of IANA. */
  readonly timeZone: string;
}

/** A value, a range or all, then steps of the last two; and lists of these. The library knows more, and its dialect is not the contract. */
function field(value: string): RegExp {
  const part = String.raw`(?:(?:\*|${value}-${value})(?:/\d{1,2})?|${value})`;
  return new RegExp(`^${part}(?:,${part})*$`, 'i');
}
const NUMBER = String.raw`\d{1,2}`;
const MONTH = `(?:${NUMBER}|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)`;
const DAY_OF_WEEK = '(?:[0-7]|SUN|MON|TUE|WED|THU|FRI|SAT)';
const FIELDS = [NUMBER, NUMBER, NUMBER, MONTH, DAY_OF_WEEK].map(field);

/**
 * What is wrong with the times; undefined when there is a next one. Where a change of the clock skips a time, its tick comes at the
 * change. Where a change repeats a time, a daily tick comes at the first of both, and an hourly one each hour.
 */
export function problemOf(times: Times): { readonly path: keyof Times; readonly message: string } | undefined {
  if (!isTimeZone(times.timeZone))
    return { path: 'timeZone', message: 'must be a time zone of IANA, such as Europe/Berlin' };
  const parts = times.cron.split(' ');
  if (parts.length !== FIELDS.length || !FIELDS.every((one, n) => one.test(parts[n] ?? ''))) return NO_CRON;
  try {
    if (patternOf(times).nextRun() !== null) return undefined;
    return { path: 'cron', message: 'has no next time' };
  } catch {
    return NO_CRON;
  }
}

const NO_CRON = {
  path: 'cron',
  message: 'must be a cron pattern of five parts with a space between them: minute, hour, day, month, day of the week',
} as const;

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    // It takes offsets such as +01:00, too.
    return /^[a-z]/i.test(name);
  } catch {
    return false;
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
