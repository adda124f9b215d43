import { Readable } from 'node:stream';
import { StreamableFile } from '@nestjs/common';

/** Characters of an answer that is written at once. */
const MAX_AT_ONCE = 1024 * 1024;

/** The body of an answer: as one string, or, where it is long, one piece after the other, as fast as the client reads. */
export function inPieces(pieces: readonly string[]): string | StreamableFile {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  return length <= MAX_AT_ONCE ? pieces.join('') : new StreamableFile(Readable.from(pieces));
}

/** The elements of an array, with the commas between them. */
export function withCommas(elements: readonly string[]): readonly string[] {
  return elements.map((element, index) => (index === 0 ? element : `,${element}`));
}
