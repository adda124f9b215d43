import type { WebSocket } from 'ws';

const PING_EVERY_MS = 20_000;
const PONG_DEADLINE_MS = 10_000;

/** Finds out whether the peer vanished without a word (a phone in a tunnel): it answers no ping. */
export class Pings {
  #lastAt = performance.now();
  #isAwaited = false;

  constructor(private readonly socket: WebSocket) {
    socket.on('pong', () => (this.#isAwaited = false));
  }

  /** Whether the last ping had no answer in time. `now` is `performance.now()`, here and below. */
  isLost(now: number): boolean {
    return this.#isAwaited && now - this.#lastAt >= PONG_DEADLINE_MS;
  }

  /** Sends the next ping when it is due. */
  send(now: number): void {
    if (now - this.#lastAt < PING_EVERY_MS) return;
    this.#lastAt = now;
    this.#isAwaited = true;
    this.socket.ping();
  }
}
