import { isBigInteger, storedJson, withoutLineEnds } from '#protocol/exact-json.js';
import { MAX_DEPTH } from './limits.js';
import { textFault } from './storable-text.js';

// Which values of JavaScript can be stored: what JSON.stringify writes of them, if the service takes it, and besides a `bigint`, by its
// digits. The one place that decides.

/** Characters that are written in one turn of the event loop: a few milliseconds in the worst shape. */
const SLICE = 32 * 1024;
/** What a piece counts at least, however short: it takes the time of 16 characters. */
const LEAST_OF_A_PIECE = 16;
const MANY_NAMES = 10_000;
/** They would pollute prototypes in careless readers. */
const FORBIDDEN_NAMES: ReadonlySet<string> = new Set(['__proto__', 'constructor']);

/** The service takes no such value. The message says what is in it, and nothing of it. */
export class NotStorable extends Error {}

export class TooLarge extends Error {}

/**
 * The JSON of a value, undefined where JSON has no word for it. A large one is written in slices, each in a turn of the event loop of its
 * own: an object of 120 000 members takes longer than anybody else may be held up.
 * @throws NotStorable, TooLarge when it has more bytes than that
 */
export async function storableJson(value: unknown, maxBytes: number, slice = SLICE): Promise<string | undefined> {
  const writer = new JsonWriter(slice, maxBytes);
  const written = visit(value, '', writer);
  while (!next(written)) await new Promise((turn) => setImmediate(turn));
  return writer.end();
}

/** The same at once, for small values. @throws NotStorable, TooLarge */
export function smallStorableJson(value: unknown, maxBytes: number): string | undefined {
  const writer = new JsonWriter(Number.POSITIVE_INFINITY, maxBytes);
  next(visit(value, '', writer));
  return writer.end();
}

/** Whether that was all. What a `toJSON`, a getter or a proxy throws says nothing to clients. */
function next(written: Generator<void, boolean>): boolean {
  try {
    return written.next().done === true;
  } catch (error) {
    if (error instanceof NotStorable || error instanceof TooLarge) throw error;
    throw new NotStorable('JSON.stringify fails on it', { cause: error });
  }
}

interface Raw {
  isRawJSON?(value: object): boolean;
}

class JsonWriter {
  readonly #slices: string[] = [];
  #pieces: string[] = [];
  #length = 0;
  #total = 0;
  /** The containers around what is written. */
  readonly open = new Set<object>();

  constructor(
    private readonly slice: number,
    private readonly maxBytes: number,
  ) {}

  /** Whether the slice is full. */
  write(piece: string): boolean {
    this.#total += piece.length;
    // No character takes less than a byte. A value that shares its parts may be endless in effect.
    if (this.#total > this.maxBytes) throw new TooLarge();
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
    if (Buffer.byteLength(json) > this.maxBytes) throw new TooLarge();
    return json === '' ? undefined : json;
  }
}

/** Yields at the end of each slice. Writes nothing of what JSON has no word for. */
function* visit(given: unknown, key: string, writer: JsonWriter, before = ''): Generator<void, boolean> {
  const value = asJson(given, key);
  if (typeof value !== 'object' || value === null || isBoxed(value)) {
    const json = scalarJson(value);
    if (json === undefined) return false;
    checkName(key);
    if (writer.write(before + json)) yield;
    return true;
  }
  checkName(key);
  if (writer.open.has(value)) throw new NotStorable('it contains itself');
  if (writer.open.size === MAX_DEPTH) throw new NotStorable(`it is nested deeper than ${MAX_DEPTH}`);
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
    // To list them is the longest step of all, so nothing else is done in its turn.
    if (names.length > MANY_NAMES) yield;
    for (const name of names) {
      const member = (value as Record<string, unknown>)[name];
      if (yield* visit(member, name, writer, `${comma}${storedJson(name)}:`)) comma = ',';
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

function scalarJson(value: unknown): string | undefined {
  if (typeof value === 'bigint') return digits(value);
  const json = JSON.stringify(value) as string | undefined;
  if (json === undefined) return undefined;
  // What stands in a box, or raw.
  const plain: unknown = typeof value === 'object' && value !== null ? JSON.parse(json) : value;
  const fault = typeof plain === 'string' && textFault(plain);
  if (fault) throw new NotStorable(`a string in it ${fault}`);
  if (json === 'null' && value !== null) throw new NotStorable('a number in it is not finite');
  if (plain !== value && JSON.stringify(plain) !== json && !isBigInteger(json))
    throw new NotStorable('a raw number in it would change');
  if (typeof plain === 'object' && plain !== null) throw new NotStorable('a box in it is empty');
  return withoutLineEnds(json);
}

function digits(value: bigint): string {
  // Beyond the range of a double other readers would see infinity.
  if (!Number.isFinite(Number(value))) throw new NotStorable('a bigint in it is beyond the range of a double');
  return String(value);
}

function checkName(name: string): void {
  const fault = FORBIDDEN_NAMES.has(name) ? `is ${name}` : textFault(name);
  if (fault !== undefined) throw new NotStorable(`the name of a member ${fault}`);
}

/** `new Number(1)` is written as 1, and `JSON.rawJSON` as it is. */
function isBoxed(value: object): boolean {
  const boxes = [Number, String, Boolean, BigInt];
  return boxes.some((box) => value instanceof box) || (JSON as unknown as Raw).isRawJSON?.(value) === true;
}
