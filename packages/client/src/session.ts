import { asError } from './errors.js';
import type { Followed, Frame } from './followed.js';
import { linked, type Linked } from './waiting.js';

/** A server heartbeats after 15 s of silence. Two that are missed, and a delay, mean a broken connection. */
export const SILENCE_MS = 40_000;

/** One connection from its beginning to its end, over one transport. */
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

/**
 * Carries what a session follows, until the connection breaks.
 * @throws TaskBridgeError always, with `retryAfterMs` where the service says when to come back
 */
export type Transport = (session: Session) => Promise<never>;

/** Streams and long-polls that are open at a time: a browser opens six connections to a server, and requests need some of them. */
export const MAX_OPEN = 4;
/** How often pages are asked for of those that are left. */
export const ROUND_MS = 2_000;

/** One request after the other for each that is followed. When one breaks, all come back together. */
export function each(
  session: Session,
  follow: (followed: Followed, signal: AbortSignal) => Promise<void>,
): Promise<never> {
  return new Promise((_, reject) => {
    const running = new Map<Followed, Linked>();
    const start = (followed: Followed) => {
      const own = linked(session.signal);
      running.set(followed, own);
      follow(followed, own.signal)
        .catch((cause: unknown) => {
          if (own.signal.aborted) return;
          const error = asError(cause);
          // Who is calling concerns all. Anything else that does not pass concerns this one.
          if (error.mayPass || error.status === 401) reject(error);
          else followed.fail(error);
        })
        .finally(own.unlink);
    };
    session.onChange = (followed, isAdded) => {
      if (isAdded) return start(followed);
      running.get(followed)?.abort();
      running.delete(followed);
    };
    session.signal.addEventListener('abort', () => reject(session.signal.reason as Error));
    [...session.followed.values()].forEach(start);
  });
}
