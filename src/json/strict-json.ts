import { marked } from '#protocol/exact-json.js';
import { MAX_JSON_DEPTH } from '#protocol/limits.js';
import { MalformedJson } from '../errors.js';
import { NOT_KEPT } from './json-number.js';
import { JsonScan } from './json-scan.js';

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [key: string]: JsonValue;
}

const BYTE_ORDER_MARK = 0xfeff;
/** `ignoreBOM` is the web's name for leaving the mark where it is. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A text that was scanned. */
export interface CheckedJson {
  readonly text: string;
  /** Where the first integer is that a double does not keep. Only a text keeps it. */
  readonly bigIntegerAt: number | undefined;
}

/**
 * Takes texts that have one meaning only: RFC 8259 in UTF-8 without a byte order mark, less what I-JSON (RFC 7493) advises
 * against and what PostgreSQL cannot store. Refused with `MalformedJson`: duplicate keys, however they are escaped, and lossy
 * numbers other than integers (two payloads would share a fingerprint); the keys `__proto__` and `constructor` (prototype
 * pollution; `prototype` is harmless without the latter); U+0000; lone surrogates; nesting beyond `maxDepth`, which is also how
 * deep the scan recurses. `-0` stays the double it is, and is written as `0`.
 *
 * The scan only refuses; `JSON.parse` builds. A parser of our own would be no faster, and the substrings it made would
 * keep the whole body in memory for as long as one id out of it is held.
 */
export function checkedJson(json: Uint8Array | string, { maxDepth = MAX_JSON_DEPTH } = {}): CheckedJson {
  const text = typeof json === 'string' ? json : decodeUtf8(json);
  if (text.charCodeAt(0) === BYTE_ORDER_MARK) throw new MalformedJson('a byte order mark', 0);
  if (typeof json === 'string' && !text.isWellFormed()) throw new MalformedJson('a lone surrogate');
  const scan = new JsonScan(text, maxDepth);
  scan.document();
  return { text, bigIntegerAt: scan.bigIntegerAt };
}

/** The tree for a `JsonText`: integers that a double does not keep are marks (`exact-json.ts`). */
export function exactTree({ text, bigIntegerAt }: CheckedJson): JsonValue {
  return JSON.parse(bigIntegerAt === undefined ? text : marked(text)) as JsonValue;
}

/** What `JSON.parse` gives. Also refuses integers that it would change. */
export function parseStrictJson(json: Uint8Array | string, options: { readonly maxDepth?: number } = {}): JsonValue {
  const { text, bigIntegerAt } = checkedJson(json, options);
  if (bigIntegerAt !== undefined) throw new MalformedJson(NOT_KEPT, bigIntegerAt);
  return JSON.parse(text) as JsonValue;
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new MalformedJson('bytes that are not UTF-8');
  }
}
