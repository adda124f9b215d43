import type { Http } from './http.js';
import { each, pageOf, type Session } from './session.js';

const WAIT_MS = 25_000;

/** A long-poll for each that is followed. The first answer comes at once, also when the task is over. */
export function byPoll(session: Session, http: Http): Promise<never> {
  return each(session, http, async (followed, signal) => {
    await pageOf(session, http, followed, 0, signal);
    while (!signal.aborted) await pageOf(session, http, followed, WAIT_MS, signal);
  });
}
