import type { WebSocket } from 'ws';
import type { AuthContext } from '../auth/auth-context.js';
import type { Story } from '../observability/correlation.js';
import { CLOSE } from './close-codes.js';

/** A connection that subscribes to nothing within this time is closed. */
const SUBSCRIBE_DEADLINE_MS = 10_000;
const PING_EVERY_MS = 20_000;
const PONG_DEADLINE_MS = 10_000;

/** One WebSocket: who is behind it, and whether it still lives. */
export class Connection {
  readonly #closed = new AbortController();
  readonly #subscribeDeadline: NodeJS.Timeout;
  readonly #pings: NodeJS.Timeout;
  #pong: NodeJS.Timeout | undefined;
  #subscribed = false;

  constructor(
    private readonly socket: WebSocket,
    /** Settled before the first frame is looked at. */
    readonly caller: Promise<AuthContext>,
    readonly story: Story,
    private readonly draining: AbortSignal,
  ) {
    this.#subscribeDeadline = setTimeout(
      () => socket.close(CLOSE.noSubscribe, 'SUBSCRIBE_TIMEOUT'),
      SUBSCRIBE_DEADLINE_MS,
    );
    this.#pings = setInterval(() => this.ping(), PING_EVERY_MS);
    // A connection that follows nothing yet is told to come back elsewhere; the others end with their streams.
    draining.addEventListener('abort', this.#drained);
    socket.on('pong', () => clearTimeout(this.#pong));
    socket.once('close', () => this.gone());
  }

  readonly #drained = () => {
    if (!this.#subscribed) this.socket.close(CLOSE.restarting, 'DRAINING');
  };

  /** Aborts when the socket is closed, by whichever side. */
  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  /** Protocol 1.0 has one task a connection. @returns whether this is the first subscribe */
  subscribeOnce(): boolean {
    clearTimeout(this.#subscribeDeadline);
    const isFirst = !this.#subscribed;
    this.#subscribed = true;
    return isFirst;
  }

  private ping(): void {
    // A peer that vanished without a word (a phone in a tunnel) answers no ping.
    clearTimeout(this.#pong);
    this.#pong = setTimeout(() => this.socket.terminate(), PONG_DEADLINE_MS);
    this.socket.ping();
  }

  private gone(): void {
    this.draining.removeEventListener('abort', this.#drained);
    clearTimeout(this.#subscribeDeadline);
    clearInterval(this.#pings);
    clearTimeout(this.#pong);
    this.#closed.abort();
  }
}
