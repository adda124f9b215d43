const CR_LF = Buffer.from('\r\n');
const BLANK_LINE = Buffer.from('\r\n\r\n');
const OVER = Buffer.from('--');

/** What busboy does not tell about the head of a part. */
export interface PartHead {
  /** It names the type `text/plain`, which busboy also assumes when it names none. */
  readonly saysText: boolean;
  /** The name of the file is a `filename*` (RFC 8187), which busboy has decoded. */
  readonly hasExtendedName: boolean;
}

/**
 * Reads the heads of the parts of a multipart body, as they pass, and counts them. busboy skips a part with a header that it does
 * not understand, and cuts a part at a delimiter within a longer line. The task would be accepted without that file.
 */
export class PartHeads {
  readonly #delimiter: Buffer;
  readonly #heads: PartHead[] = [];
  #over = false;
  #malformed = false;
  /**
   * The bytes that may become a delimiter with the next chunk, or a head without its end. busboy refuses a head of more than
   * 16 KiB. Before the first part the line end may be missing.
   */
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
      const behind = bytes.subarray(end, end + 2);
      if (behind.equals(OVER)) this.#over = true;
      else if (behind.length === 2 && !behind.equals(CR_LF)) this.#malformed = true;
      if (this.#over || this.#malformed) return;
      const headEnd = bytes.indexOf(BLANK_LINE, end);
      const next = bytes.indexOf(this.#delimiter, end);
      this.#malformed = next !== -1 && (headEnd === -1 || next < headEnd);
      if (this.#malformed) return;
      if (headEnd === -1) {
        this.#rest = bytes.subarray(found);
        return;
      }
      this.#heads.push(headOf(bytes.toString('latin1', end, headEnd)));
      at = headEnd + CR_LF.length;
    }
    this.#rest = bytes.subarray(Math.max(at, bytes.length - this.#delimiter.length + 1));
  }

  /** Of the n-th part, from 0. Every head up to the end of the last chunk is there. */
  at(n: number): PartHead | undefined {
    return this.#heads[n];
  }

  /** Whether the body came to its end and had exactly `parts` parts. */
  isExactly(parts: number): boolean {
    return this.#over && this.#heads.length === parts;
  }
}

function headOf(head: string): PartHead {
  const disposition = /\r\ncontent-disposition:((?:[^\r]|\r\n[ \t])*)/i.exec(head)?.[1] ?? '';
  return {
    saysText: /\r\ncontent-type:[ \t]*text\/plain(?![^\s;])/i.test(head),
    hasExtendedName: /;\s*filename\*=/i.test(disposition.replace(/"(?:[^"\\]|\\.)*"/g, '""')),
  };
}
