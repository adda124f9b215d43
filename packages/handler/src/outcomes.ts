import { Suspended } from './task-handler.js';

/** A promise that records whether any code listened to it. */
class Outcome<T> extends Promise<T> {
  isHeard = false;

  /** `then` returns an ordinary promise. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  override then<A = T, B = never>(
    fulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.isHeard = true;
    return super.then(fulfilled, rejected);
  }
}

interface Rejection {
  readonly error: unknown;
  /** Undefined when the promise had resolved before. */
  readonly outcome?: Outcome<unknown>;
}

const FIRST_LOOK = 100;

/**
 * The promises that a handler gets. It need not listen to them, and none of them ends the process. Rejections without a listener
 * are recorded.
 */
export class Outcomes {
  #rejected: Rejection[] = [];
  #nextLook = FIRST_LOOK;

  /** `work` may return at once, and may throw. */
  of<T>(work: () => Promise<T> | T): Promise<T> {
    try {
      const answer = work();
      return answer instanceof Promise ? this.watched(answer) : Promise.resolve(answer);
    } catch (error) {
      return this.watched(Promise.reject<T>(error as Error));
    }
  }

  /** Of a call whose promise has resolved. */
  fail(error: unknown): void {
    this.rejected({ error });
  }

  /** The errors that no code of the handler has listened to so far, oldest first. */
  get unheard(): readonly unknown[] {
    return this.#rejected.filter(({ outcome }) => !outcome?.isHeard).map(({ error }) => error);
  }

  private watched<T>(answer: Promise<T>): Promise<T> {
    const outcome: Outcome<T> = new Outcome((resolve, reject) => {
      answer.then(resolve, (error: unknown) => {
        // This is no refusal: the handler had to end.
        if (!(error instanceof Suspended)) this.rejected({ error, outcome });
        reject(error);
      });
    });
    // Without its own `then`, because this listener is not the handler.
    Promise.prototype.then.call(outcome, undefined, () => undefined);
    return outcome;
  }

  private rejected(rejection: Rejection): void {
    this.#rejected.push(rejection);
    if (this.#rejected.length < this.#nextLook) return;
    // A handler that listens and runs for days leaves nothing in memory.
    this.#rejected = this.#rejected.filter(({ outcome }) => !outcome?.isHeard);
    this.#nextLook = 2 * this.#rejected.length + FIRST_LOOK;
  }
}
