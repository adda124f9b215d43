// JSON text as the service stores it: integers beyond the reach of a double keep their digits, and no character ends a line.
// In a tree that `JSON.parse` made of such a text, a big integer is a mark: a string of U+0000 and its digits. No other string of the
// service has U+0000, so marks and strings differ. Marks stay within the service and the SDK.

const MARK = /^\0-?[0-9]+$/;
const MARKED = /"\\u0000(-?[0-9]+)"/g;
/** Fewer digits are safe in a double. Most texts have no such run, and are not looked at closely. */
const MANY_DIGITS = /[0-9]{16}/;
/** A string, or an integer that may be big. */
const STRING_OR_INTEGER = /"|(?<![0-9.eE+-])-?[0-9]{16,}(?![0-9.eE])/g;
/** U+0085, U+2028 and U+2029: some readers of lines end a line there, and lose the event. */
const LINE_ENDS = /[\u0085\u2028\u2029]/g;
const INTEGER = /^-?[0-9]+$/;

/** Whether a number literal is an integer within the range of a double that no double prints again: 9007199254740993. */
export function isBigInteger(literal: string): boolean {
  return INTEGER.test(literal) && Number.isFinite(Number(literal)) && !comesBack(literal);
}

/** Whether a double prints a number of the same value. Up to ±2^53 a decimal is the nearest double, as everywhere. */
export function comesBack(literal: string): boolean {
  const value = Number(literal);
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER || magnitude(literal) === magnitude(String(value));
}

/** Spelled in one way: digits without zeros around them, and the power of ten of the last one. */
export function magnitude(literal: string): string {
  const [significand = '', exponent = '0'] = literal.toLowerCase().split('e');
  const [whole = '', fraction = ''] = significand.replace('-', '').split('.');
  const digits = (whole + fraction).replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return '0';
  return `${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`;
}

/** Well-formed JSON with each big integer as a mark, for `JSON.parse`. In linear time. */
export function marked(json: string): string {
  if (!MANY_DIGITS.test(json)) return json;
  const pieces: string[] = [];
  let from = 0;
  STRING_OR_INTEGER.lastIndex = 0;
  for (let found = STRING_OR_INTEGER.exec(json); found; found = STRING_OR_INTEGER.exec(json)) {
    const [literal] = found;
    if (literal === '"') {
      STRING_OR_INTEGER.lastIndex = endOfString(json, found.index) + 1;
    } else if (isBigInteger(literal)) {
      pieces.push(json.slice(from, found.index), `"\\u0000${literal}"`);
      from = found.index + literal.length;
    }
  }
  return pieces.length === 0 ? json : pieces.join('') + json.slice(from);
}

/** The digits of a mark; undefined for any other value. */
export function digitsOf(value: unknown): string | undefined {
  return typeof value === 'string' && value.startsWith('\0') && MARK.test(value) ? value.slice(1) : undefined;
}

/** What `JSON.stringify` writes of a value that JSON has a word for, with the digits of marks and without line ends. */
export function storedJson(value: unknown): string {
  const json = JSON.stringify(value);
  return withoutLineEnds(json.includes('"\\u0000') ? json.replace(MARKED, '$1') : json);
}

/** JSON text in which U+0085, U+2028 and U+2029 are escapes. The value is the same. */
export function withoutLineEnds(json: string): string {
  return json.replace(LINE_ENDS, (end) => `\\u${end.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** The index of the quote that ends the string which begins at `start`. */
export function endOfString(json: string, start: number): number {
  for (let at = json.indexOf('"', start + 1); ; at = json.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (json.charAt(at - 1 - backslashes) === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return at;
  }
}
