import { isDeepStrictEqual } from 'node:util';
import type { Answer } from './api-client.js';
import { Broken } from './outcomes.js';

/** @throws Broken with the text of `seen` */
export function demand(holds: unknown, seen: string): asserts holds {
  if (!holds) throw new Broken(seen);
}

/** @throws Broken unless both are deeply equal */
export function demandSame(what: string, seen: unknown, demanded: unknown): void {
  if (isDeepStrictEqual(seen, demanded)) return;
  throw new Broken(`${what}: ${shortened(JSON.stringify(seen))}, demanded: ${shortened(JSON.stringify(demanded))}`);
}

/** @throws Broken unless the answer has this status and, where one is named, this code of an error */
export function demandAnswer(answer: Answer<unknown>, status: number, code?: string): void {
  const seenCode = (answer.body as { code?: unknown } | undefined)?.code;
  if (answer.status === status && (code === undefined || seenCode === code)) return;
  throw new Broken(`${shown(answer)}, demanded: ${status}${code === undefined ? '' : ` ${code}`}`);
}

/** @throws Broken when the object has a member less or more */
export function demandMembers(
  what: string,
  seen: object,
  required: readonly string[],
  optional: readonly string[],
): void {
  const names = Object.keys(seen);
  const missing = required.filter((name) => !names.includes(name));
  const unknown = names.filter((name) => !required.includes(name) && !optional.includes(name));
  demand(missing.length === 0, `${what} lacks ${missing.join(', ')}: ${shortened(JSON.stringify(seen))}`);
  demand(unknown.length === 0, `${what} has ${unknown.join(', ')}: ${shortened(JSON.stringify(seen))}`);
}

/** A request and what was answered to it. */
export function shown({ request, status, text }: Answer<unknown>): string {
  return `${request} answered ${status}${text === '' ? '' : ` ${shortened(text)}`}`;
}

export function shortened(text: string | undefined, length = 400): string {
  if (text === undefined) return 'nothing';
  return text.length <= length ? text : `${text.slice(0, length)}… (${text.length} characters)`;
}
