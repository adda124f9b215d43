import { isBigInteger } from '#protocol/exact-json.js';
import { MalformedJson } from '../errors.js';
import { MAX_NUMBER_LENGTH, numberFault } from './json-number.js';

const TAB = 0x09;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const PLUS = 0x2b;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const UPPER_E = 0x45;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const LOWER_E = 0x65;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

const MAX_QUOTED_KEY_LENGTH = 64;

/**
 * One pass over a text by the grammar of RFC 8259, which throws `MalformedJson` at the first thing that is not allowed. `at` is
 * the next code unit to look at and never goes back, so the time is linear for every text.
 */
export class JsonScan {
  private at = 0;
  /** Where the first integer is that only its text keeps. */
  bigIntegerAt: number | undefined;

  constructor(
    private readonly text: string,
    private readonly maxDepth: number,
  ) {}

  document(): void {
    this.value(0);
    if (!Number.isNaN(this.peek())) this.refuseNext();
  }

  private value(depth: number): void {
    const code = this.peek();
    if (code === QUOTE) this.string();
    else if (code === OPEN_BRACE) this.object(depth + 1);
    else if (code === OPEN_BRACKET) this.array(depth + 1);
    else if (code === MINUS || (code >= ZERO && code <= NINE)) this.number();
    else if (!this.word('true') && !this.word('false') && !this.word('null')) this.refuseNext();
  }

  private object(depth: number): void {
    this.open(depth);
    if (this.peek() === CLOSE_BRACE) return void this.at++;
    const keys = new Set<string>();
    do {
      if (this.peek() !== QUOTE) this.refuseNext();
      const start = this.at;
      const key = this.string() ?? this.text.slice(start + 1, this.at - 1);
      if (key === '__proto__' || key === 'constructor') throw new MalformedJson(`the forbidden key "${key}"`, start);
      if (keys.size === keys.add(key).size) throw new MalformedJson(`the duplicate key ${quoted(key)}`, start);
      if (this.peek() !== COLON) this.refuseNext();
      this.at++;
      this.value(depth);
    } while (this.leadsOn(CLOSE_BRACE));
  }

  private array(depth: number): void {
    this.open(depth);
    if (this.peek() === CLOSE_BRACKET) return void this.at++;
    do this.value(depth);
    while (this.leadsOn(CLOSE_BRACKET));
  }

  private open(depth: number): void {
    if (depth > this.maxDepth) throw new MalformedJson(`nesting deeper than ${this.maxDepth}`, this.at);
    this.at++;
  }

  /** Reads the comma or the closing bracket. Returns whether it was the comma. */
  private leadsOn(closing: number): boolean {
    const code = this.peek();
    if (code !== COMMA && code !== closing) this.refuseNext();
    this.at++;
    return code === COMMA;
  }

  /** The string, when it has escapes. Otherwise it is the text between the quotes. */
  private string(): string | undefined {
    const { text, at: start } = this;
    let escaped = false;
    let at = start + 1;
    for (let code = text.charCodeAt(at); code !== QUOTE; code = text.charCodeAt(at)) {
      if (at >= text.length) throw new MalformedJson('an unterminated string', start);
      if (code < SPACE) throw new MalformedJson('a control character in a string', at);
      if (code === BACKSLASH) escaped = true;
      at += code === BACKSLASH ? 2 : 1;
    }
    this.at = at + 1;
    return escaped ? unescaped(text.slice(start, this.at), start) : undefined;
  }

  private number(): void {
    const { text, at: start } = this;
    if (text.charCodeAt(this.at) === MINUS) this.at++;
    if (text.charCodeAt(this.at) === ZERO) this.at++;
    else this.digits();
    if (text.charCodeAt(this.at) === DOT) {
      this.at++;
      this.digits();
    }
    const mark = text.charCodeAt(this.at);
    const exponential = mark === LOWER_E || mark === UPPER_E;
    if (exponential) {
      const sign = text.charCodeAt(++this.at);
      if (sign === PLUS || sign === MINUS) this.at++;
      this.digits();
    }
    // A double keeps any fifteen digits.
    if (!exponential && this.at - start <= 15) return;
    if (this.at - start > MAX_NUMBER_LENGTH) throw new MalformedJson('an overlong number', start);
    const literal = text.slice(start, this.at);
    const fault = numberFault(literal);
    if (fault === undefined) return;
    if (!isBigInteger(literal)) throw new MalformedJson(fault, start);
    this.bigIntegerAt ??= start;
  }

  private digits(): void {
    const { text, at: start } = this;
    let at = start;
    for (let code = text.charCodeAt(at); code >= ZERO && code <= NINE; code = text.charCodeAt(at)) at++;
    this.at = at;
    if (at === start) this.refuseNext();
  }

  private word(word: string): boolean {
    if (!this.text.startsWith(word, this.at)) return false;
    this.at += word.length;
    return true;
  }

  /** The code unit after white space, NaN at the end. */
  private peek(): number {
    const { text } = this;
    let { at } = this;
    let code = text.charCodeAt(at);
    while (code === SPACE || code === LINE_FEED || code === CARRIAGE_RETURN || code === TAB)
      code = text.charCodeAt(++at);
    this.at = at;
    return code;
  }

  private refuseNext(): never {
    throw new MalformedJson(this.at < this.text.length ? 'an unexpected character' : 'an unexpected end', this.at);
  }
}

function unescaped(literal: string, offset: number): string {
  let string: string;
  try {
    string = JSON.parse(literal) as string;
  } catch {
    throw new MalformedJson('an unknown escape in a string', offset);
  }
  if (string.includes('\u0000')) throw new MalformedJson('U+0000 in a string', offset);
  if (!string.isWellFormed()) throw new MalformedJson('a lone surrogate in a string', offset);
  return string;
}

/** A key is the client's choice: short, and in printable ASCII, so that a message forges no log line and no terminal. */
function quoted(key: string): string {
  const shown = JSON.stringify(
    key.length > MAX_QUOTED_KEY_LENGTH ? `${key.slice(0, MAX_QUOTED_KEY_LENGTH - 3)}...` : key,
  );
  return shown.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
