import { setTimeout as delay } from 'node:timers/promises';
import { type Ended, type Headers, isTerminal, transports } from '../support/follow.js';

/** A stream ends within a second of the terminal event (I5); a machine that is busy with this run needs longer. */
const END_MS = 5_000;
/** One that is opened there may first have to wait for a PostgreSQL that is gone. */
const OPENED_AT_END_MS = 30_000;
const RECONNECT_MS = 50;
/** The run itself decides its end. This is the longest time of a timer. */
const NO_DEADLINE_MS = 2 ** 31 - 1;

/** How often a subscriber begins with a snapshot, as a page does that is opened late. */
const BY_SNAPSHOT = 0.2;

/** What one subscriber learned of one task. */
export interface Followed {
  /** The history in the form that packages/checker reads. */
  readonly history: readonly object[];
  readonly connections: number;
  /** Findings that no fault explains: a refusal, an early end, a missing end. */
  readonly oddities: readonly string[];
}

export interface SubscriberOptions {
  readonly name: string;
  readonly url: string;
  readonly taskId: string;
  readonly transport: keyof typeof transports;
  readonly headers: Headers;
  readonly random: () => number;
  /** Half of the times it leaves after at most this number of events. */
  readonly maxRun: number;
  /** Aborts at the end of the run. */
  readonly giveUp: AbortSignal;
}

/**
 * Follows a task to its end over as many connections as that takes: some it drops, some are cut. Each begins at the last id of the
 * one before, or at a snapshot; the last begins at the terminal id.
 */
export async function subscribe(options: SubscriberOptions): Promise<Followed> {
  const { name: subscriber, url, taskId, transport, headers, random, maxRun, giveUp } = options;
  const history: object[] = [];
  const oddities: string[] = [];
  let cursor: string | undefined;
  for (let [connections, isOver] = [1, false]; ; connections++) {
    const snapshot = !isOver && random() < BY_SNAPSHOT ? await snapshotOf(url, taskId, headers) : undefined;
    if (snapshot) {
      history.push({ kind: 'snapshot', subscriber, raw: snapshot.raw });
      cursor = snapshot.headEventId;
    }
    const reader = transports[transport](url, taskId, cursor, headers);
    const close = () => reader.close();
    giveUp.addEventListener('abort', close);
    const wanted = random() < 0.5 ? Number.POSITIVE_INFINITY : 1 + Math.floor(random() * maxRun);
    const hasEnd = () => isTerminal(reader.events.at(-1)?.raw ?? '{}');
    if (!isOver) {
      const untilThen = ({ events }: { events: readonly unknown[] }) => events.length >= wanted || hasEnd();
      await reader.waitFor((seen) => seen.outcome !== undefined || untilThen(seen), NO_DEADLINE_MS);
    }
    const shallEnd = isOver || hasEnd();
    const withinMs = isOver ? OPENED_AT_END_MS : END_MS;
    if (shallEnd) await reader.end(withinMs).catch(() => {});
    const ended = reader.outcome ?? (shallEnd ? undefined : ({ kind: 'left' } as const));
    reader.close();
    giveUp.removeEventListener('abort', close);

    const learnedTheEnd = ended !== undefined && saysThatItIsOver(ended, hasEnd());
    history.push({ kind: 'connected', subscriber, taskId, cursor });
    for (const { raw } of reader.events) history.push({ kind: 'event', subscriber, raw });
    history.push({ kind: learnedTheEnd ? 'ended' : 'disconnected', subscriber });
    const where = `${subscriber}, task ${taskId}, connection ${connections}`;
    if (ended === undefined)
      oddities.push(
        `no end within ${withinMs} ms of the terminal event, until ${new Date().toISOString().slice(11, 19)} (${where})`,
      );
    else if (!learnedTheEnd && !isPassing(ended)) oddities.push(`${JSON.stringify(ended)} (${where})`);

    if (ended && isPassing(ended)) await delay(RECONNECT_MS);
    if (giveUp.aborted || (isOver && learnedTheEnd)) return { history, connections, oddities };
    cursor = reader.events.at(-1)?.eventId ?? cursor;
    isOver ||= hasEnd() || learnedTheEnd;
  }
}

/** With output. Undefined when the replica is gone, or has no database. */
async function snapshotOf(url: string, taskId: string, headers: Headers) {
  const answer = await fetch(`${url}/api/v1/tasks/${taskId}?include=output`, { headers }).catch(() => undefined);
  const raw = answer?.status === 200 ? await answer.text().catch(() => '') : '';
  return raw === '' ? undefined : { raw, headEventId: (JSON.parse(raw) as { headEventId: string }).headEventId };
}

/** The end of a response says so only behind the terminal event: it also ends when its replica cannot go on. */
function saysThatItIsOver({ kind, code }: Ended, hasEnd: boolean): boolean {
  if (kind === 'end') return hasEnd;
  return kind === 'terminal' || (kind === 'close' && code === 1000) || (kind === 'status' && code === 204);
}

/** Ended by itself, or for a reason that time heals: a replica that is gone, or one without its database. */
function isPassing({ kind, code = 0 }: Ended): boolean {
  if (kind === 'broken' || kind === 'left' || kind === 'end') return true;
  if (kind === 'status') return code === 429 || code >= 500;
  return kind === 'close' && code !== 1000 && code < 4400;
}
