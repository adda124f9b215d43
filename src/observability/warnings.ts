import { format } from 'node:util';
import { boundedText } from './bounded-text.js';
import type { Log } from './log.js';

const MAX_TEXT = 2000;

/**
 * What is said past every logger becomes lines of the log: Node's warnings, also those of libraries, and what they print as a
 * warning by themselves, such as ioredis of a password that Redis does not ask for.
 */
export function logWarnings(log: Log): void {
  // Among them the one by which Node itself prints to stderr.
  process.removeAllListeners('warning');
  process.on('warning', (err) => log.warn({ err }, 'process.warning'));
  // eslint-disable-next-line no-restricted-syntax
  console.warn = (...parts: unknown[]) =>
    log.warn({ text: boundedText(format(...parts), MAX_TEXT) }, 'process.warning');
}
