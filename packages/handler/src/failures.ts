import { FAILURES, type FailureCode } from '#protocol/errors.js';
import { LONGEST_RETRY_AFTER_MS, MAX_FAILURE_MESSAGE_LENGTH, MAX_NAME_LENGTH } from '#protocol/limits.js';
import { Refused } from './holder-errors.js';
import type { Failure } from './lease-holder.js';
import { MAX_RESULT_JSON_BYTES } from './limits.js';
import { NotStorable, TooLarge } from './storable-json.js';
import { storableText } from './storable-text.js';
import { TaskFailure } from './task-handler.js';

const CODE_OF_OTHERS = 'HANDLER_ERROR';
const HIDDEN = 'The handler failed.';

/**
 * The failure that clients see when an error ended a handler. Unless `exposes`, they see nothing of an error that is no `TaskFailure`,
 * because its text may hold anything.
 */
export function failureOf(error: unknown, exposes = false): Failure {
  if (error instanceof Refused) return eventRefused(error);
  if (!(error instanceof TaskFailure)) {
    const message = exposes ? given(() => thrownText(error), HIDDEN) : HIDDEN;
    return { code: CODE_OF_OTHERS, message: storableText(message, MAX_FAILURE_MESSAGE_LENGTH), retryable: true };
  }
  // A subclass may have anything there, also getters that throw.
  const { retryable, retryAfterMs } = given(() => ({ ...(error.options as Record<string, unknown> | undefined) }), {});
  const wanted = typeof retryAfterMs === 'number' ? retryAfterMs : Number.NaN;
  const withinLimits = Math.round(Math.min(Math.max(wanted, 0), LONGEST_RETRY_AFTER_MS));
  const code = given(() => String(error.code), '');
  const message = given(() => String(error.message), '');
  return {
    code: storableText(code, MAX_NAME_LENGTH) || CODE_OF_OTHERS,
    message: storableText(message, MAX_FAILURE_MESSAGE_LENGTH),
    retryable: retryable === true,
    ...(!Number.isNaN(withinLimits) && { retryAfterMs: withinLimits }),
  };
}

/** `The handler threw TypeError: x is not a function, at handlers.mjs:12:5.` */
function thrownText(error: unknown): string {
  const [, file] = /^ +at .*?([^/\\(]+:\d+:\d+)\)?$/m.exec(error instanceof Error ? String(error.stack) : '') ?? [];
  return `The handler threw ${String(error)}${file === undefined ? '' : `, at ${file}`}.`;
}

function given<T>(read: () => T, instead: T): T {
  try {
    return read();
  } catch {
    return instead;
  }
}

/** The failure for a refused event that no code of the handler has dealt with. */
function eventRefused({ code, message }: Refused): Failure {
  if (Object.hasOwn(FAILURES, code)) return final(code as FailureCode, message);
  return final('EVENT_REFUSED', `A call of the handler was refused. ${message}`);
}

/** The handler has done its work. Another attempt would change nothing. */
export function resultRefused(error: unknown): Failure {
  const isTooLarge = error instanceof TooLarge || (error instanceof Refused && error.code === 'PAYLOAD_TOO_LARGE');
  if (isTooLarge) return final('RESULT_TOO_LARGE', `A result may have at most ${MAX_RESULT_JSON_BYTES} bytes.`);
  return final('RESULT_NOT_STORABLE', `The result cannot be stored: ${whyNot(error)}`);
}

function whyNot(error: unknown): string {
  if (error instanceof NotStorable) return `${error.message}.`;
  return error instanceof Refused ? error.message : 'the service did not take it.';
}

function final(code: FailureCode, message: string): Failure {
  return { code, message: storableText(message, MAX_FAILURE_MESSAGE_LENGTH), retryable: false };
}
