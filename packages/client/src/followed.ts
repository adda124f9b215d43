import type { TaskBridgeError } from './errors.js';

/** What comes over any transport: an event, a change, or a frame about them. */
export type Frame = Readonly<Record<string, unknown>> & { readonly type?: string };

/** A stream of the service that the client follows: the log of a task, or the feed of changes. It knows what it has. */
export interface Followed {
  /** The id of the task, or `changes`. */
  readonly key: string;
  /** What a WebSocket sends to follow it from where it is, and to leave it. */
  subscribe(): object;
  unsubscribe(): object;
  /** Its SSE stream, from where it is. */
  streamPath(): string;
  /** A page behind where it is, for which the service waits up to `waitMs`. */
  pagePath(waitMs: number): string;
  /** An event, a change, or a cursor. What it has already is dropped. */
  receive(frame: Frame): void;
  /** Something may exist, up to this event id, that does not come by itself. */
  catchUp(at: number): void;
  /** Where it is: the id of its last event, 0 for a feed. */
  readonly head: number;
  /** There is nothing more to come. */
  finish(): void;
  /** It cannot be followed any more. */
  fail(error: TaskBridgeError): void;
}

/** The frames of a page: the events of a task, or the changes of a feed and their cursor. */
export function framesOf(page: Frame): readonly Frame[] {
  const { events, changes = events ?? [], next } = page as { events?: Frame[]; changes?: Frame[]; next?: string };
  return next === undefined ? changes : [...changes, { next }];
}

/** Takes a page: that of a task may say that nothing comes behind the cursor any more. */
export function receivePage(
  followed: Followed,
  page: Frame,
  receive = (frame: Frame) => followed.receive(frame),
): void {
  const frames = framesOf(page);
  frames.forEach(receive);
  // Otherwise the terminal event ends the log, and never before a hole in front of it.
  if (page['terminal'] === true && frames.length === 0) followed.finish();
}
