import { format, types } from 'node:util';
import { Logger, type PinoLogger } from 'nestjs-pino';
import type { Logger as Pino } from 'pino';
import { boundedText } from './bounded-text.js';
import { errorFields } from './log.js';

/** The lines of these about the start are for debugging, and would be a hundred. */
const START = new Set([
  'InstanceLoader',
  'NestApplication',
  'NestFactory',
  'RouterExplorer',
  'RoutesResolver',
  'WebSocketsController',
]);
/** The line's own fields. A field of the same name would hide them. */
const OWN = new Set(['level', 'time', 'msg', 'context', 'correlation_id', 'causation_id']);

type Line = readonly [fields: object, ...context: string[]];

/**
 * The logger of Nest, and of every `new Logger('x')` of a host: nestjs-pino's, without its losses. pino interpolates values
 * behind a text, and drops objects and errors there. Here all of them become fields of the line.
 */
export class NestLogger extends Logger {
  override verbose(...said: unknown[]): void {
    super.verbose(...lineOf(said));
  }

  override debug(...said: unknown[]): void {
    super.debug(...lineOf(said));
  }

  override log(...said: unknown[]): void {
    const [fields, ...context] = lineOf(said);
    if (START.has(context[0] ?? '')) super.debug(fields, ...context);
    else super.log(fields, ...context);
  }

  override warn(...said: unknown[]): void {
    super.warn(...lineOf(said));
  }

  override error(...said: unknown[]): void {
    super.error(...lineOf(said));
  }

  override fatal(...said: unknown[]): void {
    super.fatal(...lineOf(said));
  }
}

export function nestLogger(logger: Pino): NestLogger {
  // It has the called methods. A PinoLogger would keep one pino for all applications of a process.
  return new NestLogger(logger as unknown as PinoLogger, {});
}

/** Nest puts the name of the logger last. A text becomes `msg`, an error `err`, a stack `stack`, and the members of an object fields. */
function lineOf(said: readonly unknown[]): Line {
  const last = said.length > 1 ? said.at(-1) : undefined;
  const context = typeof last === 'string' && !isStack(last) ? [last] : [];
  const texts: unknown[] = [];
  const fields: Record<string, unknown> = {};
  for (const part of context.length > 0 ? said.slice(0, -1) : said) {
    if (types.isNativeError(part)) fields['err'] = part;
    else if (typeof part === 'object' && part !== null && !Array.isArray(part)) Object.assign(fields, membersOf(part));
    else if (isStack(part)) fields['stack'] = part;
    else if (part !== undefined) texts.push(part);
  }
  const { msg_: spoken, ...rest } = fields;
  if (texts.length > 0) return [{ ...fields, msg: plain(format(...texts)) }, ...context];
  return [typeof spoken === 'string' ? { ...rest, msg: plain(spoken) } : fields, ...context];
}

function membersOf(part: object): Record<string, unknown> {
  const members = Object.entries(part).map(([name, value]: [string, unknown]) => {
    const isError = types.isNativeError(value);
    if (name === 'err' && isError) return [name, value] as const;
    return [OWN.has(name) || name === 'err' ? `${name}_` : name, isError ? errorFields(value) : value] as const;
  });
  return Object.fromEntries(members);
}

function isStack(part: unknown): part is string {
  return typeof part === 'string' && /\n\s+at /.test(part);
}

function plain(text: string): string {
  return boundedText(text, Number.POSITIVE_INFINITY);
}
