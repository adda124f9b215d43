import { isBigInteger, marked } from '#protocol/exact-json.js';
import { invalidRequest } from './refusal.js';

const MAX_DEPTH = 32;
const TOKEN =
  /[ \t\r\n]*([[\]{},:]|"(?:[^"\\\u0000-\u001f]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)[ \t\r\n]*/y;

/** An object of JSON that has one meaning. Big integers in it are marks. @throws Refusal */
export function strictObject(bytes: Buffer): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw invalidRequest();
  }
  const tokens = tokensOf(text);
  if (tokens[0] !== '{' || valueAt(tokens, 0, 1) !== tokens.length) throw invalidRequest();
  return JSON.parse(marked(text)) as Record<string, unknown>;
}

function tokensOf(text: string): readonly string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  for (let at = 0; at < text.length; at = TOKEN.lastIndex) {
    const match = TOKEN.exec(text);
    if (!match) throw invalidRequest();
    tokens.push(match[1] ?? '');
  }
  return tokens;
}

/** The place behind the value that begins here. @throws Refusal */
function valueAt(tokens: readonly string[], at: number, depth: number): number {
  const token = tokens[at] ?? '';
  if (depth > MAX_DEPTH + 1 || (depth > MAX_DEPTH && /[[{]/.test(token))) throw invalidRequest();
  if (token === '{' || token === '[') return compoundAt(tokens, at, depth);
  if (token.startsWith('"')) textOf(token);
  else if (/^-?\d/.test(token)) checkNumber(token);
  else if (!/^(true|false|null)$/.test(token)) throw invalidRequest();
  return at + 1;
}

function compoundAt(tokens: readonly string[], start: number, depth: number): number {
  const isObject = tokens[start] === '{';
  const close = isObject ? '}' : ']';
  const names = new Set<string>();
  let at = start + 1;
  if (tokens[at] === close) return at + 1;
  for (;;) {
    if (isObject) {
      const name = textOf(tokens[at] ?? '');
      if (names.has(name) || name === '__proto__' || name === 'constructor') throw invalidRequest();
      names.add(name);
      if (tokens[at + 1] !== ':') throw invalidRequest();
      at += 2;
    }
    at = valueAt(tokens, at, depth + 1);
    if (tokens[at] === close) return at + 1;
    if (tokens[at] !== ',') throw invalidRequest();
    at += 1;
  }
}

function textOf(token: string): string {
  try {
    const text: unknown = token.startsWith('"') ? JSON.parse(token) : undefined;
    if (typeof text === 'string' && text.isWellFormed() && !text.includes('\0')) return text;
  } catch {
    // Refused below.
  }
  throw invalidRequest();
}

function checkNumber(token: string): void {
  const number = Number(token);
  if (!Number.isFinite(number)) throw invalidRequest();
  if (number === 0 && /[1-9].*e|^-?[0.]*[1-9]/i.test(token)) throw invalidRequest();
  if (Math.abs(number) > Number.MAX_SAFE_INTEGER && !isBigInteger(token) && /[.]/.test(token)) throw invalidRequest();
}
