import type { HostCall } from '../observability/host-code.js';
import { ProtocolError } from '../errors.js';

/** A part that the host module brought did not do what its port promises. Which one is for the log: `cause` says it. */
export class HostPortFailed extends ProtocolError {
  override readonly code = 'SERVICE_UNAVAILABLE';
  override readonly retryAfterSeconds = 5;

  /** The line for an operator. */
  readonly told: string;

  constructor({ port, method }: HostCall, cause: unknown) {
    const told = `${port}.${method} failed: ${firstLineOf(cause)}`;
    super('A part of the service does not answer as it should', { cause: new Error(told, { cause }) });
    this.told = told;
  }
}

/** The first line of a thrown value. */
export function firstLineOf(error: unknown): string {
  try {
    const text = typeof error === 'string' ? error : error instanceof Error ? String(error.message) : '';
    return text.split('\n', 1)[0]?.slice(0, 1000) || 'unknown error';
  } catch {
    return 'unknown error';
  }
}
