import type { JsonObject } from './json-schema.js';
import type { ShownOutput } from './snapshots.js';

// What a task has put out, event by event. The service, the kit and clients fold alike.

/** What one event made of the text of a channel. */
interface Piece {
  readonly eventId: number;
  readonly op: 'append' | 'replace';
  readonly data: string;
}

export class OutputFold {
  /** By channel, what counts, in the order of the log. */
  readonly #pieces = new Map<string, Piece[]>();
  #isExact = true;

  /** From the start of the log, or from a snapshot with output. */
  constructor(private readonly begun?: ShownOutput & { readonly headEventId: string }) {
    if (!begun) return;
    const { settledEventId, headEventId, output } = begun;
    for (const [channel, { data, settled }] of Object.entries(output)) {
      this.put(channel, { eventId: Number(settledEventId), op: 'replace', data: settled });
      this.put(channel, { eventId: Number(headEventId), op: 'replace', data });
    }
  }

  /**
   * False after an event that voids what the snapshot had put out, and not down to its `settledEventId`: its text at that event is unknown.
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
    this.put(String(channel), { eventId, op: op === 'replace' ? 'replace' : 'append', data: String(data) });
  }

  /** The text as of an event, without what became void later. */
  text(channel: string, asOf = Infinity): string {
    return this.from(channel, asOf)
      .map(({ data }) => data)
      .join('');
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
    const pieces = this.#pieces.get(channel);
    if (pieces) pieces.push(piece);
    else this.#pieces.set(channel, [piece]);
  }

  /** What makes up the text: from the last replacement on. */
  private from(channel: string, asOf: number): readonly Piece[] {
    const valid = (this.#pieces.get(channel) ?? []).filter(({ eventId }) => eventId <= asOf);
    const replaced = valid.map(({ op }) => op).lastIndexOf('replace');
    return valid.slice(Math.max(0, replaced));
  }

  private void(since: number): void {
    const { settledEventId = 0, headEventId = 0 } = this.begun ?? {};
    if (since > Number(settledEventId) && since < Number(headEventId)) this.#isExact = false;
    for (const [channel, pieces] of this.#pieces) {
      while ((pieces.at(-1)?.eventId ?? 0) > since) pieces.pop();
      if (pieces.length === 0) this.#pieces.delete(channel);
    }
  }
}
