import type { JsonObject } from './json-schema.js';
import type { ShownOutput } from './snapshots.js';

// What a task has put out, event by event. The service, the kit and clients fold alike.

/** What one event, or several that were joined, made of the text of a channel. */
interface Piece {
  /** The event before the first. */
  readonly after: number;
  /** The last. */
  readonly eventId: number;
  readonly op: 'append' | 'replace';
  readonly data: string;
}

export class OutputFold {
  /** By channel, what counts, in the order of the log. */
  readonly #pieces = new Map<string, Piece[]>();
  #isExact = true;

  /** From the start of the log, or from a snapshot with output. */
  constructor(begun?: ShownOutput & { readonly headEventId: string }) {
    if (!begun) return;
    const [settledEventId, headEventId] = [Number(begun.settledEventId), Number(begun.headEventId)];
    for (const [channel, { data, settled }] of Object.entries(begun.output)) {
      this.put(channel, { after: 0, eventId: settledEventId, op: 'replace', data: settled });
      this.put(channel, { after: settledEventId, eventId: headEventId, op: 'replace', data });
    }
  }

  /**
   * False after an event that voids a part of what the snapshot had put out, or of what was joined: the text at that event is unknown.
   * Read the snapshot again.
   */
  get isExact(): boolean {
    return this.#isExact;
  }

  /** The channels with a text that counts. */
  get channels(): readonly string[] {
    return [...this.#pieces.keys()];
  }

  /** The next event of the task. Events without output may be left out, unless they have `supersedesAfterEventId`. */
  add(eventId: number, type: string, payload: JsonObject): void {
    const { supersedesAfterEventId: since, channel, op, data } = payload;
    if (since !== undefined) this.void(Number(since));
    if (type !== 'TASK_OUTPUT') return;
    this.put(String(channel), {
      after: eventId - 1,
      eventId,
      op: op === 'replace' ? 'replace' : 'append',
      data: String(data),
    });
  }

  /** Keeps the newest `pieces` of each channel apart, and joins those before, so that a long text takes the memory of its characters. */
  join(pieces: number): void {
    for (const all of this.#pieces.values()) {
      const old = all.slice(0, -pieces);
      const [first, last] = [old[0], old.at(-1)];
      if (!first || !last) continue;
      const counted = counting(old);
      const op = counted[0]?.op ?? 'append';
      all.splice(0, old.length, { after: first.after, eventId: last.eventId, op, data: textOf(counted) });
    }
  }

  /** The text as of an event, without what became void later. */
  text(channel: string, asOf = Infinity): string {
    return textOf(this.from(channel, asOf));
  }

  /** Whether the text depends on no output before the first event that was added. */
  isReplaced(channel: string, asOf = Infinity): boolean {
    return this.from(channel, asOf)[0]?.op === 'replace';
  }

  /** The texts of all channels. */
  texts(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.channels.map((channel) => [channel, this.text(channel)]));
  }

  /** The last event that put something out there. */
  lastEventId(channel: string): number {
    return this.#pieces.get(channel)?.at(-1)?.eventId ?? 0;
  }

  private put(channel: string, piece: Piece): void {
    const pieces = this.#pieces.get(channel) ?? [];
    pieces.push(piece);
    this.#pieces.set(channel, pieces);
  }

  private from(channel: string, asOf: number): readonly Piece[] {
    return counting((this.#pieces.get(channel) ?? []).filter(({ eventId }) => eventId <= asOf));
  }

  private void(since: number): void {
    for (const [channel, pieces] of this.#pieces) {
      for (let last = pieces.at(-1); last && last.eventId > since; last = pieces.at(-1)) {
        if (last.after < since) this.#isExact = false;
        pieces.pop();
      }
      if (pieces.length === 0) this.#pieces.delete(channel);
    }
  }
}

/** What makes up the text: from the last replacement on. */
function counting(pieces: readonly Piece[]): readonly Piece[] {
  return pieces.slice(Math.max(0, pieces.map(({ op }) => op).lastIndexOf('replace')));
}

const textOf = (pieces: readonly Piece[]): string => pieces.map(({ data }) => data).join('');
