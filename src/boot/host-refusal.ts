import { HttpException } from '@nestjs/common';
import type { ErrorKind } from '#protocol/errors.js';
import { httpStatusOf } from '../http/error-body.js';
import { TaskBridgeError } from '../errors.js';
import { AttachmentMissing } from '../uploads/uploads.errors.js';

const CODE = /^[A-Z][A-Z0-9_]{0,63}$/;
const MAX_MESSAGE_CHARACTERS = 1000;
const MAX_DETAILS_CHARACTERS = 8192;
const MAX_RETRY_AFTER_SECONDS = 86_400;

/** A refusal that a host made up, as it was when it was thrown: its members are read once, here. */
class HostRefusal extends TaskBridgeError {
  override readonly code: string;
  override readonly kind: ErrorKind;
  override readonly details: Readonly<Record<string, unknown>>;
  override readonly retryAfterSeconds?: number;

  constructor(
    said: Pick<TaskBridgeError, 'code' | 'kind' | 'message' | 'details' | 'retryAfterSeconds'>,
    cause: unknown,
  ) {
    super(said.message, { cause });
    this.code = said.code;
    this.kind = said.kind;
    this.details = said.details;
    if (said.retryAfterSeconds !== undefined) this.retryAfterSeconds = said.retryAfterSeconds;
  }
}

/**
 * What a host may throw to refuse: a TaskBridgeError, an exception of Nest with a 4xx, or that a file is missing. Undefined for
 * everything else, which is a fault of the host's.
 */
export function refusalOfHost(error: unknown): Error | undefined {
  try {
    if (error instanceof AttachmentMissing) return error;
    if (error instanceof HttpException) {
      const status = error.getStatus();
      return Number.isInteger(status) && status >= 400 && status < 500 ? error : undefined;
    }
    return error instanceof TaskBridgeError ? copied(error) : undefined;
  } catch {
    return undefined;
  }
}

function copied(error: TaskBridgeError): HostRefusal | undefined {
  const { code, kind, message, details, retryAfterSeconds } = error;
  const isWhole =
    CODE.test(code) &&
    // A fault is not a refusal.
    kind !== 'fault' &&
    Number.isInteger(httpStatusOf(kind)) &&
    typeof message === 'string' &&
    message.length <= MAX_MESSAGE_CHARACTERS &&
    (retryAfterSeconds === undefined || (retryAfterSeconds >= 0 && retryAfterSeconds <= MAX_RETRY_AFTER_SECONDS));
  if (!isWhole) return undefined;
  const json = JSON.stringify(details);
  if (!json.startsWith('{') || json.length > MAX_DETAILS_CHARACTERS) return undefined;
  const copy = JSON.parse(json) as HostRefusal['details'];
  return new HostRefusal(
    { code, kind, message, details: copy, ...(retryAfterSeconds !== undefined && { retryAfterSeconds }) },
    error,
  );
}
