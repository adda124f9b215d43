import { isDeepStrictEqual } from 'node:util';
import { ERROR_KINDS, type ErrorCode, kindOf } from '../../protocol/src/errors.js';
import { type JsonSchema, opened, problemIn } from '../../protocol/src/json-schema.js';
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

/** @throws Broken unless the answer has this status */
export function demandAnswer(answer: Answer<unknown>, status: number): void {
  demand(answer.status === status, `${shown(answer)}, demanded: ${status}`);
}

/** The status and the code of a refusal. */
export function refusal(code: ErrorCode): readonly [status: number, code: ErrorCode] {
  return [ERROR_KINDS[kindOf(code)].status, code];
}

/** `what`: what was wrong with the request, where `shown` does not say it. @throws Broken unless the answer is this refusal */
export function demandRefusal(answer: Answer<unknown>, code: ErrorCode, what = ''): void {
  const seen = [answer.status, (answer.body as { code?: unknown } | undefined)?.code];
  if (isDeepStrictEqual(seen, refusal(code))) return;
  throw new Broken(`${what}${what === '' ? '' : ': '}${shown(answer)}, demanded: ${refusal(code).join(' ')}`);
}

/** @throws Broken when the object lacks a member, or has one that the schema does not name */
export function demandMembers(what: string, seen: object, { required = [], properties = {} }: JsonSchema): void {
  const names = Object.keys(seen);
  const missing = required.filter((name) => !names.includes(name));
  const unknown = names.filter((name) => !Object.hasOwn(properties, name));
  demand(missing.length === 0, `${what} lacks ${missing.join(', ')}: ${shortened(JSON.stringify(seen))}`);
  demand(unknown.length === 0, `${what} has ${unknown.join(', ')}: ${shortened(JSON.stringify(seen))}`);
}

/** @throws Broken when a member has another shape than the schema says. The value may have more members. */
export function demandShape(what: string, seen: unknown, schema: JsonSchema): void {
  const wrong = problemIn(opened(schema), seen);
  demand(wrong === undefined, `${wrong?.path} of ${what} ${wrong?.problem}: ${shortened(JSON.stringify(seen))}`);
}

/** A request and what was answered to it. */
export function shown({ request, status, text }: Answer<unknown>): string {
  return `${request} answered ${status}${text === '' ? '' : ` ${shortened(text)}`}`;
}

export function shortened(text: string | undefined, length = 400): string {
  if (text === undefined) return 'nothing';
  return text.length <= length ? text : `${text.slice(0, length)}… (${text.length} characters)`;
}
