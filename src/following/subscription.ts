import { setTimeout as delay } from 'node:timers/promises';
import { endsTask } from '#protocol/events.js';
import { within } from '../deadline.js';
import { TaskBridgeError } from '../errors.js';
import { CursorAhead } from '../tasks/domain/tasks.errors.js';
import type { TaskSoFar } from '../tasks/read-output.js';
import type { StoredEvent } from '../tasks/domain/stored-event.js';
import { type Batch, batches } from './batches.js';
import type { Channel, HeadFollower } from './channel.js';

/** How long a reader waits before it asks a PostgreSQL that did not answer again. */
const UNAVAILABLE_RETRY_MS = 500;
/** The bounds of events in one read of the log. A client that takes fewer at a time gets fewer. */
const PAGE_EVENTS = { least: 8, most: 200 } as const;

/**
 * Every event of a task after a cursor, once, in order. It is attached to the task's channel before anything is read, so nothing
 * falls between history and live. It has no queue: each `take()` reads what is there. So a slow reader costs no memory, and gets
 * what piled up in one piece.
 */
export class Subscription implements HeadFollower {
  #over: boolean;
  #closed = false;
  #watcher: (() => void) | undefined;
  #pageEvents: number = PAGE_EVENTS.most;
  /** The end of the log, when the cursor is beyond it. */
  #endOfLog: number | undefined;
  /** Events read from the log for the next `take()`. */
  #page: readonly StoredEvent[] | undefined;
  /** The cursor before the last `take()`. */
  #before = 0;

  constructor(
    private readonly channel: Channel,
    /** The id of the last event that was taken. */
    private cursor: number,
    /** The head when the subscription was opened. */
    readonly headEventId: number,
    taskIsOver: boolean,
    private readonly detach: (channel: Channel) => void,
    /** The task at the cursor, for a client that begins with it. */
    private snapshot?: TaskSoFar,
  ) {
    this.#over = taskIsOver && cursor === headEventId;
    channel.follow(this);
  }

  get taskId(): string {
    return this.channel.taskId;
  }

  /** Whether the terminal event is behind the cursor: nothing will follow. */
  get isOver(): boolean {
    return this.#over;
  }

  /** What the client gets before the first event. It is kept until it is taken. */
  takeSnapshot(): TaskSoFar | undefined {
    const { snapshot } = this;
    this.snapshot = undefined;
    return snapshot;
  }

  get lastEventId(): number {
    return this.cursor;
  }

  /** Calls `moved` whenever there may be more to take, and on `close()`. `moved` must not throw. */
  watch(moved: () => void): void {
    this.#watcher = moved;
  }

  moved(): void {
    this.#watcher?.();
  }

  movedBack(headEventId: number): void {
    if (this.cursor > headEventId) this.#endOfLog = headEventId;
    this.moved();
  }

  /**
   * The next events, at least one; null when the task is over, or after `close()`; undefined when no event is at hand: with
   * `isBehind` until they are read, else until they arrive.
   * @throws CursorAhead when the last taken event was never stored
   */
  take(): readonly Batch[] | null | undefined {
    if (this.#over || this.#closed) return null;
    if (this.#endOfLog !== undefined) throw new CursorAhead(this.#endOfLog);
    const { cursor, headEventId } = this;
    // The history ends with its own batch.
    const boundary = cursor < headEventId ? headEventId : 0;
    const taken = this.#page ? batches(this.#page, boundary) : this.channel.recent(cursor, boundary);
    this.#page = undefined;
    const last = taken?.at(-1)?.last;
    if (!last) return undefined;
    this.#before = cursor;
    this.cursor = last.eventId;
    this.#over = endsTask(last.type);
    return taken;
  }

  /** Events behind the cursor. */
  get lag(): number {
    return Math.max(0, this.channel.head - this.cursor);
  }

  /** Whether an event follows the cursor. */
  get isBehind(): boolean {
    return this.channel.head > this.cursor;
  }

  /** Resolves true when an event follows the cursor, false after `timeoutMs` or on `close()`. An alternative to `watch()`. */
  async movedWithin(timeoutMs: number): Promise<boolean> {
    if (!this.isBehind && !this.#closed) {
      const { promise: moved, resolve } = Promise.withResolvers<void>();
      this.watch(resolve);
      await within(timeoutMs, moved);
    }
    return this.isBehind;
  }

  /**
   * Reads a page of the log, which the next `take()` returns. While PostgreSQL does not answer, the stream stays open, and
   * continues afterwards.
   * @throws TaskNotFound when the task was removed meanwhile
   */
  async read(): Promise<void> {
    try {
      const limit = this.#pageEvents;
      this.#page = await this.channel.logged(this.cursor, limit);
      if (this.#page.length === 0) {
        await this.channel.confirm();
        // The task's head names an event that its log lacks. An operator has to repair that. The reader asks again now and then.
        if (this.isBehind) await delay(UNAVAILABLE_RETRY_MS);
      }
      this.#pageEvents = Math.min(PAGE_EVENTS.most, 2 * limit);
    } catch (error) {
      if (!(error instanceof TaskBridgeError) || error.kind !== 'unavailable') throw error;
      await delay(UNAVAILABLE_RETRY_MS);
    }
  }

  /** Whether these were committed after the subscription was opened, and no client of this replica has them yet. */
  isFirstWith({ first }: Batch): boolean {
    return first.eventId > this.headEventId && this.channel.isFirst(first.eventId);
  }

  /** The client has these now. */
  delivered({ last }: Batch): void {
    this.channel.delivered(last.eventId);
  }

  /** Events after this one were not sent. They have to come again. */
  rewind(lastEventId: number): void {
    this.#pageEvents = Math.max(PAGE_EVENTS.least, 2 * (lastEventId - this.#before));
    this.cursor = lastEventId;
    this.#over = false;
  }

  /** May be called more than once. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.channel.unfollow(this);
    this.moved();
    this.detach(this.channel);
  }
}
