const MARK = Buffer.from('"eventId":"');
const QUOTE = 0x22;

/**
 * The ids of the events in a byte stream, in any framing. So the client's work is small, and the same on every transport. No
 * payload of the bench contains the mark.
 */
export class EventIds {
  #rest: Buffer | undefined;

  constructor(private readonly found: (eventId: number) => void) {}

  read(chunk: Buffer): void {
    const data = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk;
    this.#rest = undefined;
    let at = 0;
    for (;;) {
      const mark = data.indexOf(MARK, at);
      if (mark < 0) return this.keep(data, Math.max(at, data.length - MARK.length + 1));
      const end = data.indexOf(QUOTE, mark + MARK.length);
      if (end < 0) return this.keep(data, mark);
      let id = 0;
      for (let digit = mark + MARK.length; digit < end; digit += 1) id = id * 10 + (data[digit] as number) - 0x30;
      // A heartbeat's id is no number.
      if (id > 0 && id < Number.MAX_SAFE_INTEGER && (data[mark + MARK.length] as number) <= 0x39) this.found(id);
      at = end + 1;
    }
  }

  /** What may be the beginning of a mark, or of a number. */
  private keep(data: Buffer, from: number): void {
    const begin = data.indexOf(QUOTE, from);
    if (begin < 0) return;
    const tail = data.subarray(begin);
    if (tail.length >= MARK.length || MARK.subarray(0, tail.length).equals(tail)) this.#rest = Buffer.from(tail);
    else this.keep(data, begin + 1);
  }
}
