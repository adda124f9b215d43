/**
 * A stream that is cut anywhere is also cut within characters that take two UTF-16 units. A half one is no text that the service
 * could store, so it waits here for the other half, which comes with the next append to its channel.
 */
export class HalfCharacters {
  readonly #held = new Map<string, string>();

  /** What can be sent now. */
  complete(channel: string, op: string, data: string): string {
    const all = op === 'append' ? (this.#held.get(channel) ?? '') + data : data;
    const end = /[\ud800-\udbff]$/.test(all) ? all.length - 1 : all.length;
    this.#held.set(channel, all.slice(end));
    return all.slice(0, end);
  }
}
