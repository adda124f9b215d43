import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { StreamableFile } from '@nestjs/common';

/** The most characters of an answer that leave in one write. */
const MAX_AT_ONCE = 256 * 1024;

/**
 * The body of an answer: one string, or, when it is long, one piece after the other, as fast as the client reads. Each piece is
 * made and written in its own turn of the event loop.
 */
export function inPieces(pieces: Iterable<string>): string | StreamableFile {
  const begun: string[] = [];
  const more = pieces[Symbol.iterator]();
  for (let length = 0, next = more.next(); !next.done; next = more.next()) {
    begun.push(next.value);
    length += next.value.length;
    if (length > MAX_AT_ONCE) return new StreamableFile(Readable.from(inTurns(begun, more), { highWaterMark: 1 }));
  }
  return begun.join('');
}

/** An array of these elements as a member, before the rest of the object. */
export function* around<T>(
  before: string,
  elements: readonly T[],
  write: (element: T) => string,
  after: string,
): Generator<string> {
  yield before;
  for (const [index, element] of elements.entries()) yield `${index === 0 ? '' : ','}${write(element)}`;
  yield after;
}

async function* inTurns(begun: readonly string[], more: Iterator<string>): AsyncGenerator<string> {
  yield begun.join('');
  for (let next = more.next(); !next.done; next = more.next()) {
    await nextTurn();
    yield next.value;
  }
}
