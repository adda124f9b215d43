import type { TaskEvent } from '../../protocol/src/events.js';
import { asError, type TaskBridgeError } from './errors.js';
import { type Followed, type Frame, receivePage } from './followed.js';
import type { Http } from './http.js';
import { Bell } from './waiting.js';

export type { TaskEvent };

/** The most that the service puts on a page. */
const PAGE_EVENTS = 500;

export const endsTask = (type: string): boolean => /^TASK_(COMPLETED|FAILED|CANCELLED)$/.test(type);

/**
 * The log of one task, from the cursor of its first reader on. It takes each event once and in order, from any transport: what it has is
 * dropped, and a hole is read by page. It keeps the newest events. A reader that wants earlier ones reads pages.
 */
export class Log implements Followed {
  readonly #kept: TaskEvent[] = [];
  readonly #bell = new Bell();
  #head: number;
  /** The greatest id that is known to exist. */
  #known = 0;
  #isOver = false;
  /** How many look. Without any it is not followed. */
  readers = 0;
  #isFilling = false;
  #error: TaskBridgeError | undefined;

  constructor(
    readonly key: string,
    after: number,
    private readonly http: Http,
    private readonly maxKept: number,
    private readonly onEnd: () => void,
  ) {
    this.#head = after;
  }

  get head(): number {
    return this.#head;
  }

  /**
   * The next events behind the cursor, one or more, without a hole. Waits while there are none. Empty: the task is over.
   * @throws TaskBridgeError when the task cannot be followed, or the reason of the signal
   */
  async after(cursor: number, signal: AbortSignal): Promise<readonly TaskEvent[]> {
    for (;;) {
      signal.throwIfAborted();
      if (cursor < this.#head) {
        const kept = cursor - (this.#head - this.#kept.length);
        if (kept >= 0) return this.#kept.slice(kept);
        const { events } = await this.http.json<{ events: readonly TaskEvent[] }>(this.#path(cursor, 0), { signal });
        if (events.length > 0) return events;
      }
      if (this.#error) throw this.#error;
      if (this.#isOver) return [];
      await this.#bell.next(signal);
    }
  }

  receive(frame: Frame): void {
    const event = frame as unknown as TaskEvent;
    const id = Number(event.eventId);
    if (!(id > this.#head) || this.#isOver) return;
    if (id > this.#head + 1) return this.catchUp(id);
    this.#head = id;
    this.#kept.push(event);
    // Cut from time to time, because each cut moves the rest.
    if (this.#kept.length >= 2 * this.maxKept) this.#kept.splice(0, this.#kept.length - this.maxKept);
    if (endsTask(event.type)) this.finish();
    else this.#bell.ring();
  }

  catchUp(at: number): void {
    this.#known = Math.max(this.#known, at);
    if (!this.#isFilling && !this.#isOver) void this.#fill();
  }

  finish(): void {
    if (this.#isOver || this.#error) return;
    this.#isOver = true;
    this.onEnd();
    this.#bell.ring();
  }

  fail(error: TaskBridgeError): void {
    if (this.#isOver || this.#error) return;
    this.#error = error;
    this.onEnd();
    this.#bell.ring();
  }

  subscribe = () => ({ action: 'subscribe', taskId: this.key, lastEventId: String(this.#head) });
  unsubscribe = () => ({ action: 'unsubscribe', taskId: this.key });
  streamPath = () => `/tasks/${this.key}/events/stream?lastEventId=${this.#head}`;
  pagePath = (waitMs: number) => this.#path(this.#head, waitMs);

  /** One page or more, until what is known to exist is here. What a transport brings meanwhile counts, too. */
  async #fill(): Promise<void> {
    this.#isFilling = true;
    try {
      do receivePage(this, await this.http.json<Frame>(this.pagePath(0)));
      while (this.#known > this.#head && !this.#isOver);
    } catch (error) {
      if (!this.http.closed.aborted) this.fail(asError(error));
    } finally {
      this.#isFilling = false;
    }
  }

  #path(after: number, waitMs: number): string {
    return `/tasks/${this.key}/events?afterEventId=${after}&maxEvents=${PAGE_EVENTS}&waitTimeoutMs=${waitMs}`;
  }
}
