import { Injectable } from '@nestjs/common';

/** Which ports the service has asked, and how often. */
@Injectable()
export class Asked {
  readonly #calls = new Map<string, number>();

  /** `call` is the name of a port and of its method. */
  note(call: string): void {
    this.#calls.set(call, (this.#calls.get(call) ?? 0) + 1);
  }

  get calls(): Record<string, number> {
    return Object.fromEntries(this.#calls);
  }
}
