import type { TaskEvent } from '@taskbridge/client';
import { ask } from '../../service/ask.js';
import { client } from '../../service/client.js';

const FIRST_PAGE = 200;
const OLDER_PAGE = 500;
/** More than this are read again when somebody scrolls back. */
const KEPT = 20_000;
/** How often readers are called, at most. */
const FRAME_MS = 100;

interface Page {
  readonly events: readonly TaskEvent[];
}

/** The newest events of a task, as they come. Older ones are read on demand. */
export class EventLog {
  /** Without a hole, oldest first. The same array until it has changed. */
  events: readonly TaskEvent[] = [];
  /** Whether it was read once. */
  isReady = false;
  isReadingOlder = false;
  error: Error | undefined;
  version = 0;
  readonly #listeners = new Set<() => void>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #arrived: TaskEvent[] = [];

  constructor(
    private readonly taskId: string,
    private readonly headEventId: string,
  ) {}

  get hasOlder(): boolean {
    return this.isReady && Number(this.events[0]?.eventId ?? 1) > 1;
  }

  /** Reads and follows until the signal. */
  async follow(signal: AbortSignal): Promise<void> {
    try {
      const known = this.events.at(-1)?.eventId;
      if (known === undefined) {
        const { events } = await this.#before(Number(this.headEventId) + 1, FIRST_PAGE, signal);
        this.events = events;
      }
      this.isReady = true;
      this.#changed();
      const after = this.events.at(-1)?.eventId ?? '0';
      for await (const event of client.task(this.taskId).events({ after, signal })) {
        this.#arrived.push(event);
        this.#timer ??= setTimeout(() => this.#take(), FRAME_MS);
      }
    } catch (error) {
      if (signal.aborted) return;
      this.error = error as Error;
      this.#changed();
    }
  }

  async readOlder(): Promise<void> {
    const first = this.events[0];
    if (!first || !this.hasOlder || this.isReadingOlder) return;
    this.isReadingOlder = true;
    this.#changed();
    try {
      const { events } = await this.#before(Number(first.eventId), OLDER_PAGE);
      if (this.events[0] === first) this.events = [...events, ...this.events];
    } finally {
      this.isReadingOlder = false;
      this.#changed();
    }
  }

  subscribe = (changed: () => void): (() => void) => {
    this.#listeners.add(changed);
    return () => this.#listeners.delete(changed);
  };

  #before(eventId: number, maxEvents: number, signal?: AbortSignal): Promise<Page> {
    const path = `/tasks/${encodeURIComponent(this.taskId)}/events?beforeEventId=${eventId}&maxEvents=${maxEvents}`;
    return ask<Page>(path, signal && { signal });
  }

  #take(): void {
    this.#timer = undefined;
    const all = [...this.events, ...this.#arrived];
    this.#arrived = [];
    this.events = all.length > KEPT * 1.2 ? all.slice(-KEPT) : all;
    this.#changed();
  }

  #changed(): void {
    this.version += 1;
    for (const listener of this.#listeners) listener();
  }
}
