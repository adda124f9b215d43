import type { LoggerService } from '@nestjs/common';
import { boundedText } from './bounded-text.js';
import type { Log } from './log.js';

const MAX_TEXT = 2000;

/**
 * Nest's own lines, for `NestFactory.create(…, { logger })`. Its lines about the start are for debugging, so its `log` is our
 * debug. Warnings and errors keep their level. Its sentences are fields, not event names.
 */
export class NestLog implements LoggerService {
  constructor(private readonly logger: Log) {}

  log(message: unknown, ...rest: unknown[]): void {
    this.logger.debug(fieldsOf(message, rest), 'nest.log');
  }

  debug(message: unknown, ...rest: unknown[]): void {
    this.logger.debug(fieldsOf(message, rest), 'nest.debug');
  }

  verbose(message: unknown, ...rest: unknown[]): void {
    this.logger.debug(fieldsOf(message, rest), 'nest.verbose');
  }

  warn(message: unknown, ...rest: unknown[]): void {
    this.logger.warn(fieldsOf(message, rest), 'nest.warning');
  }

  error(message: unknown, ...rest: unknown[]): void {
    this.logger.error(fieldsOf(message, rest), 'nest.error');
  }

  fatal(message: unknown, ...rest: unknown[]): void {
    this.logger.error(fieldsOf(message, rest), 'nest.error');
  }
}

/** Nest puts the context last and, for errors, a stack before it. */
function fieldsOf(message: unknown, rest: readonly unknown[]): object {
  const context = rest.at(-1);
  const stack = rest.find((item) => typeof item === 'string' && /\n\s+at /.test(item)) as string | undefined;
  return {
    ...(typeof context === 'string' && context !== stack && { context: boundedText(context) }),
    ...(message instanceof Error ? { err: message } : { text: boundedText(textOf(message), MAX_TEXT) }),
    ...(stack !== undefined && { stack: stack.slice(0, MAX_TEXT) }),
  };
}

function textOf(message: unknown): string {
  return typeof message === 'string' ? message : (JSON.stringify(message) ?? typeof message);
}
