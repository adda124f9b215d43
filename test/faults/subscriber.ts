import { setTimeout as delay } from 'node:timers/promises';
import { type Delivered, type Ended, type Headers, isTerminal, transports } from '../support/follow.js';

/** A stream ends within a second of the terminal event (I5); a machine that is busy with this run needs longer. */
const END_MS = 5_000;
const RECONNECT_MS = 50;

/** One connection: from where, what came, byte for byte, and how it ended. */
export interface Visit {
  readonly cursor: string | undefined;
  readonly events: readonly Delivered[];
  /** Absent: it did not end when it should have. */
  readonly ended?: Ended;
}

/** Everything that one subscriber was told of one task. */
export interface History {
  readonly taskId: string;
  readonly transport: string;
  readonly visits: readonly Visit[];
}

export interface SubscriberOptions {
  readonly url: string;
  readonly taskId: string;
  readonly transport: keyof typeof transports;
  readonly headers: Headers;
  readonly random: () => number;
  /** It leaves after up to so many events, half of the times. */
  readonly maxRun: number;
  /** Aborts when it has been long enough. */
  readonly giveUp: AbortSignal;
}

/**
 * Follows a task to its end over as many connections as that takes: some it drops, some are cut. Each begins at the last id of the
 * one before; the last begins at the terminal id.
 */
export async function subscribe(options: SubscriberOptions): Promise<History> {
  const { url, taskId, transport, headers, random, maxRun, giveUp } = options;
  const visits: Visit[] = [];
  let cursor: string | undefined;
  for (let isOver = false; ; ) {
    const reader = transports[transport](url, taskId, cursor, headers);
    const close = () => reader.close();
    giveUp.addEventListener('abort', close);
    const wanted = random() < 0.5 ? Number.POSITIVE_INFINITY : 1 + Math.floor(random() * maxRun);
    const last = () => reader.events.at(-1);
    const hasEnd = () => isTerminal(last()?.raw ?? '{}');
    if (!isOver) {
      const untilThen = ({ events }: { events: readonly unknown[] }) => events.length >= wanted || hasEnd();
      // A stream that ends before is one to come back to; the verdict says whether it was allowed to.
      await reader.waitFor((seen) => seen.outcome !== undefined || untilThen(seen), 600_000);
    }
    const shallEnd = isOver || hasEnd();
    if (shallEnd) await reader.end(END_MS).catch(() => {});
    const ended = reader.outcome ?? (shallEnd ? undefined : ({ kind: 'left' } as const));
    reader.close();
    giveUp.removeEventListener('abort', close);
    visits.push({ cursor, events: [...reader.events], ...(ended && { ended }) });
    // Cut off at the terminal cursor, it has to ask again whether that is the end.
    const isAnswered = ended === undefined || !isPassing(ended);
    if (giveUp.aborted || (isOver && isAnswered)) return { taskId, transport, visits };
    cursor = last()?.eventId ?? cursor;
    isOver ||= hasEnd();
    if (ended && isPassing(ended)) await delay(RECONNECT_MS);
  }
}

/** Ended for a reason that time heals: a replica that is gone, or one without its database. */
export function isPassing({ kind, code = 0 }: Ended): boolean {
  if (kind === 'broken') return true;
  if (kind === 'status') return code === 429 || code >= 500;
  return kind === 'close' && code !== 1000 && code < 4400;
}
