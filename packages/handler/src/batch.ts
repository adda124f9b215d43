import { MAX_BATCH_EVENTS } from '#protocol/limits.js';
import type { HandlerEvent, SizedEvent } from './events.js';
import { MAX_BATCH_BYTES, MAX_JOINED_BYTES } from './limits.js';

/** The event of one call of a handler. */
export interface Piece {
  readonly event: SizedEvent;
  readonly stored: () => void;
  readonly refused: (error: unknown) => void;
}

/** Pieces that are stored as one event. */
interface Run {
  readonly first: SizedEvent;
  readonly data: string[];
  bytes: number;
}

/** One batch to send: adjacent appends to one channel are one event. */
export class Batch {
  readonly #runs: Run[] = [];
  readonly #pieces: Piece[] = [];
  bytes = 0;

  /** Takes as many pieces as fit, from the first on. */
  static of(pieces: readonly Piece[]): Batch {
    const batch = new Batch();
    for (const piece of pieces) if (!batch.take(piece)) break;
    return batch;
  }

  get pieces(): readonly Piece[] {
    return this.#pieces;
  }

  get events(): readonly HandlerEvent[] {
    return this.#runs.map(({ first: { type, payload }, data }) => ({
      type,
      payload: data.length > 1 ? { ...payload, data: data.join('') } : payload,
    }));
  }

  /** Whether the piece fitted. */
  private take(piece: Piece): boolean {
    const { event } = piece;
    const last = this.#runs.at(-1);
    const longer = last && addedBytes(last.first, event);
    const joins = last !== undefined && longer !== undefined && last.bytes + longer <= MAX_JOINED_BYTES;
    const bytes = joins ? longer : event.bytes;
    const isFull = this.bytes + bytes > MAX_BATCH_BYTES || (!joins && this.#runs.length === MAX_BATCH_EVENTS);
    if (isFull && this.#pieces.length > 0) return false;
    if (joins) {
      last.data.push(event.append?.data ?? '');
      last.bytes += bytes;
    } else {
      this.#runs.push({ first: event, data: event.append ? [event.append.data] : [], bytes });
    }
    this.#pieces.push(piece);
    this.bytes += bytes;
    return true;
  }
}

/** The bytes that `next` adds to `event` when the two become one; undefined when they cannot be joined. */
export function addedBytes(event: SizedEvent, next: SizedEvent): number | undefined {
  return event.append && event.append.channel === next.append?.channel ? next.append.bytes : undefined;
}
