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

  /** Asks when it is time to. `now` is `performance.now()`. */
  isLost(now: number): boolean {
    const sinceMs = now - this.#lastAt;
    if (this.#isAwaited && sinceMs >= PONG_DEADLINE_MS) return true;
    if (sinceMs >= PING_EVERY_MS) {
      this.#lastAt = now;
      this.#isAwaited = true;
      this.socket.ping();
    }
    return false;
  }
}
