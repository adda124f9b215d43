import { TryOver } from './holder-errors.js';
import { Suspended } from './task-handler.js';

/** A promise that knows whether anybody ever listened to it. */
class Outcome<T> extends Promise<T> {
  isHeard = false;

  /** What `then` makes is a promise like any other. */
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
  /** Undefined where the promise had resolved before. */
  readonly outcome?: Outcome<unknown>;
}

const FIRST_LOOK = 100;

/**
 * The promises that a handler is given. It may leave each of them alone, and none of them ends the process; but what was rejected while
 * nobody listened is not forgotten.
 */
export class Outcomes {
  #rejected: Rejection[] = [];
  #nextLook = FIRST_LOOK;

  /** `work` may answer at once, and throw. */
  of<T>(work: () => Promise<T> | T): Promise<T> {
    try {
      const answer = work();
      return answer instanceof Promise ? this.watched(answer) : Promise.resolve(answer);
    } catch (error) {
      return this.watched(Promise.reject<T>(error as Error));
    }
  }

  /** Takes the error of a call whose promise has resolved. */
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
        // Not a refusal: the handler was to end, or the body of a step.
        if (!(error instanceof Suspended || error instanceof TryOver)) this.rejected({ error, outcome });
        reject(error);
      });
    });
    // Not by its own `then`: this is not the handler who listens.
    void Promise.prototype.then.call(outcome, undefined, () => undefined);
    return outcome;
  }

  private rejected(rejection: Rejection): void {
    this.#rejected.push(rejection);
    if (this.#rejected.length < this.#nextLook) return;
    // A handler that listens, and goes on for days, leaves nothing behind.
    this.#rejected = this.#rejected.filter(({ outcome }) => !outcome?.isHeard);
    this.#nextLook = 2 * this.#rejected.length + FIRST_LOOK;
  }
}
