// What the calls of a LeaseHolder, and so those of a handler, reject with, besides faults that nobody expects.

/** The lease has expired or is over. Only `renew` tells which. */
export class LeaseLost extends Error {
  constructor() {
    super('The lease is over.');
  }
}

/** No answer, or one that says "later": the call may have been obeyed, and is made again. */
export class Unavailable extends Error {
  constructor(
    message: string,
    readonly retryAfterMs = 0,
    cause?: unknown,
  ) {
    super(message, { cause });
  }
}

/** What was to be stored is not taken; the same would be refused again. Nothing of the call was stored. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The body of a step goes on behind the end of its try. Nothing of it is stored, and the handler is not to blame for it. */
export class TryOver extends Error {
  constructor(key: string) {
    super(`The try of the step ${key} was over before this call.`);
  }
}
