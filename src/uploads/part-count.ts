const CR_LF = Buffer.from('\r\n');
const OVER = Buffer.from('--');

/**
 * Counts the parts of a multipart body by its delimiters, as they go by. busboy passes over a part in silence when it does not
 * understand its header, and cuts one off where the delimiter stands within a longer line: a file would be lost, and the task
 * accepted without it.
 */
export class PartCount {
  readonly #delimiter: Buffer;
  #parts = 0;
  #over = false;
  #malformed = false;
  /** What may become a delimiter with the next chunk. Before the first part the line end may be missing. */
  #rest = CR_LF;

  constructor(boundary: string) {
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  }

  take(chunk: Buffer): void {
    if (this.#over || this.#malformed) return;
    const bytes = Buffer.concat([this.#rest, chunk]);
    let at = 0;
    for (;;) {
      const found = bytes.indexOf(this.#delimiter, at);
      if (found === -1) break;
      const end = found + this.#delimiter.length;
      if (bytes.length < end + 2) {
        this.#rest = bytes.subarray(found);
        return;
      }
      const behind = bytes.subarray(end, end + 2);
      if (behind.equals(OVER)) this.#over = true;
      else if (behind.equals(CR_LF)) this.#parts += 1;
      else this.#malformed = true;
      if (this.#over || this.#malformed) return;
      at = end;
    }
    this.#rest = bytes.subarray(Math.max(at, bytes.length - this.#delimiter.length + 1));
  }

  /** Whether the body came to its end and had exactly so many parts. */
  isExactly(parts: number): boolean {
    return this.#over && this.#parts === parts;
  }
}
