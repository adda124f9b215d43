import { setImmediate as nextTurn } from 'node:timers/promises';

/** Characters that are written in one turn of the event loop: a few milliseconds in the worst shape. */
const SLICE = 32 * 1024;
/** The least length that a piece counts for: a short piece takes as long as this number of characters. */
const LEAST_OF_A_PIECE = 16;
const MANY_NAMES = 10_000;

/**
 * The text that `JSON.stringify` makes of a value, for code in this process. A large value is written in slices, each in its own
 * turn of the event loop, because an object of 120 000 members would block other work for too long.
 */
export async function jsonOf(value: unknown, slice = SLICE): Promise<string | undefined> {
  const writer = new JsonWriter(slice);
  const visited = visit(value, '', writer);
  while (!visited.next().done) await nextTurn();
  return writer.end();
}

interface Raw {
  isRawJSON(value: object): boolean;
}

class JsonWriter {
  readonly #slices: string[] = [];
  #pieces: string[] = [];
  #length = 0;
  /** The containers around what is written. */
  readonly open = new Set<object>();

  constructor(private readonly slice: number) {}

  /** Whether the slice is full. */
  write(piece: string): boolean {
    this.#pieces.push(piece);
    this.#length += Math.max(piece.length, LEAST_OF_A_PIECE);
    if (this.#length < this.slice) return false;
    this.#slices.push(this.#pieces.join(''));
    this.#pieces = [];
    this.#length = 0;
    return true;
  }

  end(): string | undefined {
    const json = [...this.#slices, ...this.#pieces].join('');
    return json === '' ? undefined : json;
  }
}

/** Yields at the end of each slice. Omits values that JSON cannot hold. */
function* visit(given: unknown, key: string, writer: JsonWriter, before = ''): Generator<void, boolean> {
  const value = asJson(given, key);
  if (typeof value !== 'object' || value === null || isBoxed(value)) {
    const json = JSON.stringify(value) as string | undefined;
    if (json === undefined) return false;
    if (writer.write(before + json)) yield;
    return true;
  }
  if (writer.open.has(value)) throw new TypeError('Converting circular structure to JSON');
  writer.open.add(value);
  if (Array.isArray(value)) {
    if (writer.write(`${before}[`)) yield;
    for (let i = 0; i < value.length; i += 1) {
      const comma = i === 0 ? '' : ',';
      if (!(yield* visit(value[i], String(i), writer, comma)) && writer.write(`${comma}null`)) yield;
    }
    if (writer.write(']')) yield;
  } else {
    if (writer.write(`${before}{`)) yield;
    let comma = '';
    const names = Object.keys(value);
    // Listing the keys of a large object is the longest step, so it has a turn of its own.
    if (names.length > MANY_NAMES) yield;
    for (const name of names) {
      const member = (value as Record<string, unknown>)[name];
      if (yield* visit(member, name, writer, `${comma}${JSON.stringify(name)}:`)) comma = ',';
    }
    if (writer.write('}')) yield;
  }
  writer.open.delete(value);
  return true;
}

function asJson(value: unknown, key: string): unknown {
  if ((typeof value !== 'object' || value === null) && typeof value !== 'bigint' && typeof value !== 'function')
    return value;
  const { toJSON } = value as { toJSON?: unknown };
  return typeof toJSON === 'function' ? (toJSON.call(value, key) as unknown) : value;
}

/** `new Number(1)` is written as 1, and `JSON.rawJSON` as it is. */
function isBoxed(value: object): boolean {
  const boxes = [Number, String, Boolean, BigInt];
  return boxes.some((box) => value instanceof box) || (JSON as unknown as Raw).isRawJSON(value);
}
