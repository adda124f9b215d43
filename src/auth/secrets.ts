import { createHash, timingSafeEqual } from 'node:crypto';

/** The secrets of which a caller has to show one. Every one is compared in constant time, so the time of an answer reveals nothing. */
export class Secrets {
  readonly #digests: readonly Buffer[];

  constructor(secrets: readonly string[]) {
    this.#digests = secrets.map(digest);
  }

  get areConfigured(): boolean {
    return this.#digests.length > 0;
  }

  include(given: string): boolean {
    return this.placeOf(given) !== undefined;
  }

  /** Where the list has it; undefined when it is none of them. */
  placeOf(given: string): number | undefined {
    const digested = digest(given);
    const places = this.#digests.map((known, at) => (timingSafeEqual(known, digested) ? at : undefined));
    return places.find((at) => at !== undefined);
  }
}

function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
