import { setTimeout as delay } from 'node:timers/promises';
import { TaskBridgeError } from '../taskbridge-error.js';
import { endsTask } from '../tasks/domain/task-event.js';
import { TaskNotFound } from '../tasks/domain/tasks.errors.js';
import type { StoredEvent } from '../tasks/stored-event.js';
import type { Channel } from './channel.js';

/** How long a reader waits before it asks a PostgreSQL that did not answer again. */
const UNAVAILABLE_RETRY_MS = 500;
/** Events in one read of the log: as many as pay off, fewer where the client takes fewer at a time. */
const PAGE_EVENTS = { least: 8, most: 200 } as const;

/**
 * Every event of a task after a cursor, once, in order. It is attached to the task's channel before anything is read, so nothing
 * falls between history and live. Nothing is queued for it: it takes what is there when it is asked, so a reader that is slow
 * costs no memory, and what piled up meanwhile comes in one piece.
 */
export class Subscription {
  #over: boolean;
  #closed = false;
  #wake: (() => void) | undefined;
  #pageEvents: number = PAGE_EVENTS.most;
  /** Read from the log and about to be taken. */
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
  ) {
    this.#over = taskIsOver && cursor === headEventId;
  }

  get taskId(): string {
    return this.channel.taskId;
  }

  /** Whether the terminal event is behind the cursor: nothing will follow. */
  get isOver(): boolean {
    return this.#over;
  }

  get lastEventId(): number {
    return this.cursor;
  }

  /** The next events, at least one; null when the task is over, or after `close()`; undefined when they are not at hand. */
  take(): readonly StoredEvent[] | null | undefined {
    if (this.#over || this.#closed) return null;
    const events = this.#page ?? this.channel.recent(this.cursor);
    this.#page = undefined;
    const last = events?.at(-1);
    if (!last) return undefined;
    this.#before = this.cursor;
    this.cursor = last.eventId;
    this.#over = endsTask(last.type);
    return events;
  }

  /**
   * Undefined when there is something to take; else resolves when it is worth to try. What was read is kept until it is taken.
   * @throws TaskNotFound when the task was removed meanwhile
   */
  ready(): Promise<void> | undefined {
    if (this.#over || this.#closed) return undefined;
    if (this.channel.head <= this.cursor) return new Promise((resolve) => this.channel.wait((this.#wake = resolve)));
    return this.channel.hasRecent(this.cursor) ? undefined : this.readPage();
  }

  /** Whether these were committed after the subscription was opened, and no client of this replica has them yet. */
  isFirstWith(first: StoredEvent, last: StoredEvent): boolean {
    return first.eventId > this.headEventId && this.channel.isFirst(first.eventId, last.eventId);
  }

  /** Resolves true when there is something after the cursor, false after so long, or on `close()`. */
  async moved(timeoutMs: number): Promise<boolean> {
    if (this.channel.head <= this.cursor && !this.#closed) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        this.channel.wait(
          (this.#wake = () => {
            clearTimeout(timer);
            resolve();
          }),
        );
      });
    }
    return this.channel.head > this.cursor;
  }

  /** What came after this event was not handed on: it is to come again. */
  rewind(lastEventId: number): void {
    this.#pageEvents = Math.max(PAGE_EVENTS.least, 2 * (lastEventId - this.#before));
    this.cursor = lastEventId;
    this.#over = false;
  }

  /** Ends a `ready()` that waits. May be called more than once. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#wake) this.channel.forget(this.#wake);
    this.#wake?.();
    this.detach(this.channel);
  }

  /** Nothing while PostgreSQL does not answer: the stream stays, and goes on when it does. */
  private async readPage(): Promise<void> {
    try {
      const limit = this.#pageEvents;
      this.#page = await this.channel.logged(this.cursor, limit);
      if (this.#page.length === 0) throw new TaskNotFound();
      this.#pageEvents = Math.min(PAGE_EVENTS.most, 2 * limit);
    } catch (error) {
      if (!(error instanceof TaskBridgeError) || error.kind !== 'unavailable') throw error;
      await delay(UNAVAILABLE_RETRY_MS);
    }
  }
}
