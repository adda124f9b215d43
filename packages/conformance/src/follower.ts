import { endsTask } from '../../protocol/src/events.js';
import { Broken } from './outcomes.js';
import { shortened } from './demands.js';
import type { Envelope } from './wire.js';

/** An event exactly as it was delivered. */
export interface Delivered {
  readonly eventId: string;
  readonly type: string;
  readonly raw: string;
}

/**
 * How a stream ended: `closed` by a WebSocket close frame, `ended` the regular end of a response or a subscription, `status` an HTTP
 * answer that opens no stream, `broken` a connection that was cut, `left` by the kit.
 */
export interface End {
  readonly how: 'closed' | 'ended' | 'status' | 'broken' | 'left';
  readonly code?: number;
  readonly reason?: string;
  /** Whether a client learns from it that the task is over. */
  readonly saysOver: boolean;
}

/** What one client has seen of one task over one connection. */
export class Follower {
  readonly events: Delivered[] = [];
  /** Everything that arrived, in order: frames of a WebSocket, blocks of SSE, pages. */
  readonly frames: string[] = [];
  end: End | undefined;
  readonly #watchers = new Set<() => void>();
  #leave: () => void = () => {};

  constructor(private readonly patienceMs: number) {}

  get ids(): readonly string[] {
    return this.events.map(({ eventId }) => eventId);
  }

  get hasTerminal(): boolean {
    return this.events.some(({ type }) => endsTask(type));
  }

  has(eventId: string): boolean {
    return this.events.some((event) => event.eventId === eventId);
  }

  /** Whether it came to hold within the patience. */
  async comes(holds: () => boolean, withinMs = this.patienceMs): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (held: boolean) => {
        clearTimeout(timer);
        this.#watchers.delete(watch);
        resolve(held);
      };
      const watch = () => {
        if (holds()) settle(true);
        else if (this.end !== undefined) settle(false);
      };
      const timer = setTimeout(() => settle(false), withinMs);
      this.#watchers.add(watch);
      watch();
    });
  }

  /** @throws Broken when it does not come within the patience, or the stream ends before */
  async until(holds: () => boolean, what: string, withinMs = this.patienceMs): Promise<void> {
    if (await this.comes(holds, withinMs)) return;
    throw new Broken(`${what} did not come within ${withinMs} ms: ${this.describe()}`);
  }

  /** @throws Broken when the stream does not end within the patience */
  async ended(withinMs = this.patienceMs): Promise<End> {
    await this.until(() => this.end !== undefined, 'the end of the stream', withinMs);
    return this.end as End;
  }

  close(): void {
    this.finish({ how: 'left', saysOver: false });
    this.#leave();
  }

  describe(): string {
    const last = this.frames.slice(-3).map((frame) => shortened(frame.trim(), 200));
    const end = this.end === undefined ? 'the stream is open' : `the stream ended: ${JSON.stringify(this.end)}`;
    return `${this.events.length} events (${this.ids.join(' ')}), ${end}, last: ${last.join(' | ')}`;
  }

  onLeave(leave: () => void): void {
    this.#leave = leave;
  }

  receive(frame: string, envelopes: readonly string[]): void {
    if (this.end !== undefined) return;
    this.frames.push(frame);
    for (const raw of envelopes) {
      const { eventId, type } = JSON.parse(raw) as Envelope;
      this.events.push({ eventId, type, raw });
    }
    this.notify();
  }

  finish(end: End): void {
    if (this.end !== undefined) return;
    this.end = end;
    this.notify();
  }

  private notify(): void {
    for (const watch of [...this.#watchers]) watch();
  }
}
