import { createHash } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import { SAMPLE_BYTES } from './media-type.js';

/** Counts and hashes a file on its way to the store, and keeps its beginning. */
export class FileMeter extends Transform {
  #sizeBytes = 0;
  readonly #hash = createHash('sha256');
  readonly #sample: Buffer[] = [];

  /** `admit` gets each chunk before it is passed on, with the size so far. It throws to refuse the file. */
  constructor(private readonly admit: (chunkBytes: number, sizeBytes: number) => void) {
    super();
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      this.admit(chunk.length, this.#sizeBytes + chunk.length);
    } catch (error) {
      return done(error as Error);
    }
    if (this.#sizeBytes < SAMPLE_BYTES) this.#sample.push(chunk.subarray(0, SAMPLE_BYTES - this.#sizeBytes));
    this.#sizeBytes += chunk.length;
    this.#hash.update(chunk);
    done(null, chunk);
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** The first bytes of the file, copied, so that the body's buffers can be freed. */
  get sample(): Buffer {
    return Buffer.concat(this.#sample);
  }

  /** Lower-case hex. Call it once, after the end. */
  sha256(): string {
    return this.#hash.digest('hex');
  }
}
