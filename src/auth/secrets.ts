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
    const digested = digest(given);
    return this.#digests.filter((known) => timingSafeEqual(known, digested)).length > 0;
  }
}

function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
