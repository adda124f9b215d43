import { setTimeout as delay } from 'node:timers/promises';

/** What `work` gives, or a rejection when it gives nothing in time. `work` itself goes on. */
export async function withinDeadline<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const tooLate = delay(milliseconds, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`no answer within ${milliseconds} ms`);
  });
  try {
    return await Promise.race([work, tooLate]);
  } finally {
    tooLate.catch(() => {});
    timer.abort();
  }
}
