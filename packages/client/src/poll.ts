import { type Followed, type Frame, receivePage } from './followed.js';
import { FIRST_BYTE_MS, type Http } from './http.js';
import { each, MAX_OPEN, ROUND_MS, type Session } from './session.js';
import { pause } from './waiting.js';

const WAIT_MS = 25_000;

/** A long-poll for each that is followed. The first answer comes at once, also when the task is over. */
export function byPoll(session: Session, http: Http): Promise<never> {
  let waiting = 0;
  return each(session, async (followed, signal) => {
    await pollOnce(session, http, followed, 0, signal);
    while (!signal.aborted) {
      const mayWait = waiting < MAX_OPEN;
      if (!mayWait) await pause(ROUND_MS, signal);
      waiting += mayWait ? 1 : 0;
      try {
        await pollOnce(session, http, followed, mayWait ? WAIT_MS : 0, signal);
      } finally {
        waiting -= mayWait ? 1 : 0;
      }
    }
  });
}

export async function pollOnce(
  session: Session,
  http: Http,
  followed: Followed,
  waitMs: number,
  signal: AbortSignal,
): Promise<void> {
  const page = await http.json<Frame>(followed.pagePath(waitMs), {
    signal,
    tries: 1,
    firstByteMs: waitMs + FIRST_BYTE_MS,
  });
  session.heard();
  receivePage(followed, page, (frame) => session.receive(followed, frame));
}
