import { asError } from './errors.js';
import { type Followed, type Frame, receivePage } from './followed.js';
import type { Http } from './http.js';
import { FIRST_BYTE_MS, linked, type Linked, pause } from './waiting.js';

/**
 * One connection from its beginning to its end. A transport carries it until it breaks, and always rejects: with why, and with
 * `retryAfterMs` where the service says when to come back.
 */
export interface Session {
  /** What is followed, as it changes. */
  readonly followed: ReadonlyMap<string, Followed>;
  /** Aborts when the connection is to end. */
  readonly signal: AbortSignal;
  /** The transport works: something of the service came. */
  heard(): void;
  /** A frame of something that is followed. */
  receive(followed: Followed, frame: Frame): void;
  /** The transport sets it: something is followed from now on, or no longer. */
  onChange?: (followed: Followed, isAdded: boolean) => void;
}

/** Streams and long-polls that are open at a time: a browser opens six connections to a server, and requests need some of them. */
const MAX_OPEN = 4;
/** How often pages are asked for of those that are left. */
const ROUND_MS = 2_000;

/** One request after the other for each that is followed. When one breaks, all come back together. */
export function each(
  session: Session,
  http: Http,
  carry: (followed: Followed, signal: AbortSignal) => Promise<void>,
): Promise<never> {
  let open = 0;
  const follow = async (followed: Followed, signal: AbortSignal) => {
    for (; open >= MAX_OPEN && !signal.aborted; await pause(ROUND_MS, signal))
      await pageOf(session, http, followed, 0, signal);
    open += 1;
    try {
      while (!signal.aborted) await carry(followed, signal);
    } finally {
      open -= 1;
    }
  };
  return new Promise((_, reject) => {
    const running = new Map<Followed, Linked>();
    session.onChange = (followed, isAdded) => {
      running.get(followed)?.abort();
      running.delete(followed);
      if (!isAdded) return;
      const own = linked(session.signal);
      running.set(followed, own);
      follow(followed, own.signal).catch((cause: unknown) => {
        if (own.signal.aborted) return;
        const error = asError(cause);
        // The caller's credentials concern all. Anything else that does not pass concerns this one.
        if (error.mayPass || error.status === 401) reject(error);
        else followed.fail(error);
      });
    };
    session.signal.addEventListener('abort', () => reject(session.signal.reason as Error));
    for (const followed of session.followed.values()) session.onChange(followed, true);
  });
}

/** Asks for the next page. The service waits up to `waitMs` while there is nothing on it. */
export async function pageOf(
  session: Session,
  http: Http,
  followed: Followed,
  waitMs: number,
  signal: AbortSignal,
): Promise<void> {
  const asked = { signal, tries: 1, firstByteMs: waitMs + FIRST_BYTE_MS };
  const page = await http.json<Frame>(followed.pagePath(waitMs), asked);
  session.heard();
  receivePage(followed, page, (frame) => session.receive(followed, frame));
}
