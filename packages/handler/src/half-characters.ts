import { textFault } from './storable-text.js';

/**
 * A stream that is cut anywhere is also cut within characters that take two UTF-16 units. Half a character cannot be stored, so the
 * first half waits here for the other one, which comes with the next append to its channel.
 */
export class HalfCharacters {
  readonly #held = new Map<string, string>();

  /** Whether the first half of a character waits. */
  get isWaiting(): boolean {
    return this.#held.size > 0;
  }

  /** Forgets what waits: the try of a step that put it out is over. */
  drop(): void {
    this.#held.clear();
  }

  /**
   * What can be sent now.
   * @returns undefined when all of it waits
   */
  complete(channel: string, op: string, data: string): string | undefined {
    const held = (op === 'append' && this.#held.get(channel)) || '';
    const all = held + data;
    const end = /[\ud800-\udbff]$/.test(all) ? all.length - 1 : all.length;
    const whole = all.slice(0, end);
    // A waiting half that another text follows is given up with this call.
    if (end < all.length && textFault(whole) === undefined) this.#held.set(channel, all.slice(end));
    else this.#held.delete(channel);
    return whole === '' && data !== '' ? undefined : whole;
  }
}
