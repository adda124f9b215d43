const CR_LF = Buffer.from('\r\n');
const OVER = Buffer.from('--');

/**
 * Counts the parts of a multipart body by its delimiters, as they pass. busboy skips a part with a header that it does not
 * understand, and cuts a part at a delimiter within a longer line. The task would be accepted without that file.
 */
export class PartCount {
  readonly #delimiter: Buffer;
  #parts = 0;
  #over = false;
  #malformed = false;
  /** The bytes that may become a delimiter with the next chunk. Before the first part the line end may be missing. */
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

  /** Whether the body came to its end and had exactly `parts` parts. */
  isExactly(parts: number): boolean {
    return this.#over && this.#parts === parts;
  }
}
