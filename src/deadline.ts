/** There was no answer in time. */
export class DeadlineExceeded extends Error {
  constructor(milliseconds: number) {
    super(`no answer within ${milliseconds} ms`);
  }
}

/**
 * What `work` gives, or a rejection when it gives nothing in time.
 * @throws DeadlineExceeded. `work` itself goes on, and what becomes of it is ignored
 */
export function withinDeadline<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new DeadlineExceeded(milliseconds)), milliseconds);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
