import { Injectable } from '@nestjs/common';

/** Enough for a person who looks; older ones are in the log. */
const MOST = 1_000;

/** The end of a use-case, as the log has it. */
export interface RecentLine {
  /** Counts from 1 on, without a gap. */
  readonly number: number;
  readonly at: Date;
  readonly level: string;
  readonly event: string;
  readonly correlationId: string | null;
  readonly fields: object;
}

/** The last ends of use-cases on this replica, also of those whose lines the log leaves out by its level. For operators who watch. */
@Injectable()
export class RecentLines {
  readonly #lines: RecentLine[] = [];
  #last = 0;

  get last(): number {
    return this.#last;
  }

  add(line: Omit<RecentLine, 'number' | 'at'>): void {
    this.#last += 1;
    // A ring: the place of a line follows from its number.
    this.#lines[this.#last % MOST] = { ...line, number: this.#last, at: new Date() };
  }

  /** At most `limit` lines behind this number, oldest first. Those that are gone are skipped. */
  after(number: number, limit: number): readonly RecentLine[] {
    const first = Math.max(number, this.#last - MOST) + 1;
    const count = Math.max(0, Math.min(limit, this.#last - first + 1));
    return Array.from({ length: count }, (_, i) => this.#lines[(first + i) % MOST]).filter(
      (line) => line !== undefined,
    );
  }
}
