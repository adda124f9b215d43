import { createRequire } from 'node:module';
import { types } from 'node:util';
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
import { boundedText } from './bounded-text.js';
import { currentStory } from './correlation.js';
import type { ObservabilityConfig } from './observability.config.js';

/**
 * The structured log, for the service and for hosts. `log.info({ fields }, 'concern.event')`: the message is the event's name, all else
 * is fields, in the spelling of the wire where the wire has the word. An error goes under `err`. `correlation_id` and
 * `causation_id` are added.
 */
export abstract class Log {
  abstract debug(fields: object, event: string): void;
  abstract info(fields: object, event: string): void;
  abstract warn(fields: object, event: string): void;
  abstract error(fields: object, event: string): void;
}

/** The one pino of a process. On a terminal with pino-pretty it formats lines, elsewhere it writes one JSON object a line. */
export function createLogger(config: Pick<ObservabilityConfig, 'logLevel'>, destination?: DestinationStream): Logger {
  const options: LoggerOptions = {
    level: config.logLevel,
    // A collector of the lines of many replicas knows their origin already.
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    mixin: storyFields,
    serializers: { err: errorFields },
  };
  const pretty = destination === undefined && process.stdout.isTTY ? prettyStream() : undefined;
  // A person at a terminal needs no names of what is not there.
  if (pretty) return pino({ ...options, mixin: () => (currentStory() ? storyFields() : {}) }, pretty);
  return pino(options, destination ?? pino.destination(1));
}

function storyFields(): object {
  const story = currentStory();
  return { correlation_id: story?.correlationId ?? null, causation_id: story?.causationId ?? null };
}

/** Loaded only for a terminal: it costs 40 ms. Undefined where pino-pretty is not installed: it is a development package. */
function prettyStream(): DestinationStream | undefined {
  try {
    // Its own types would be missing with it, and the build would fail.
    const pretty = createRequire(import.meta.url)('pino-pretty') as (options: object) => DestinationStream;
    return pretty({ sync: true, singleLine: true, translateTime: 'SYS:HH:MM:ss.l', ignore: 'pid,hostname' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

const MAX_MESSAGE = 1000;
const MAX_STACK = 8000;
const MAX_CAUSES = 4;

/**
 * Named properties only: errors of libraries carry bodies, rows and connection settings in the others. Never throws: a host's
 * code may throw any value, also one whose getters throw.
 */
export function errorFields(error: unknown, causes = 0): object {
  try {
    if (!types.isNativeError(error)) return { type: error === null ? 'nothing' : typeof error };
    const { name, message, stack, cause } = error;
    const { code } = error as { code?: unknown };
    return {
      type: boundedText(String(name)),
      message: boundedText(String(message), MAX_MESSAGE),
      ...(typeof code === 'string' && { code: boundedText(code) }),
      ...(stack !== undefined && { stack: String(stack).slice(0, MAX_STACK) }),
      ...(cause !== undefined && causes < MAX_CAUSES && { cause: errorFields(cause, causes + 1) }),
    };
  } catch {
    return { type: 'unreadable' };
  }
}
