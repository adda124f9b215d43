import { format } from 'node:util';
import { boundedText } from './bounded-text.js';
import type { Log } from './log.js';

const MAX_TEXT = 2000;

/**
 * Turns warnings that bypass every logger into lines of the log. These are Node's warnings, also those of libraries, and warnings
 * that libraries print themselves. ioredis prints one for a password that Redis does not ask for.
 */
export function logWarnings(log: Log): void {
  // One of these listeners is Node's own, which prints to stderr.
  process.removeAllListeners('warning');
  process.on('warning', (err) => log.warn({ err }, 'process.warning'));
  // eslint-disable-next-line no-restricted-syntax
  console.warn = (...parts: unknown[]) =>
    log.warn({ text: boundedText(format(...parts), MAX_TEXT) }, 'process.warning');
}
