import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { type AuthContext, principalKey } from '../auth/auth-context.js';
import { Callers } from '../auth/callers.js';
import { DrainState } from '../drain-state.js';
import { ServiceUnavailable, TooManyRequests } from '../errors.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import type { Connection } from './connection.js';
import { StreamingConfig } from './streaming.config.js';
import type { Transport } from '../following/transport.js';

/** So connections of one age do not all reconnect at once. */
const AGE_JITTER = 0.1;
/** How often the service looks at every connection. One timer for all takes less memory and time than three for each. */
const LOOK_MS = 250;

/** The streams of this replica and their connections: the cap of each principal, and the end of all of them. */
@Injectable()
export class Streams {
  /** Each connection, with the `performance.now()` at which it is too old. */
  readonly #connections = new Map<Connection, number>();
  #looking: NodeJS.Timeout | undefined;
  readonly #perPrincipal = new Map<string, number>();

  constructor(
    private readonly config: StreamingConfig,
    private readonly metrics: MetricsSink,
    private readonly drainState: DrainState,
    private readonly callers: Callers,
  ) {}

  /**
   * From now on the connection has an age limit, is looked at, and ends with a drain. A second call changes nothing.
   * @param caller whose it is, where that is known already
   */
  join<C extends Connection>(connection: C, caller?: AuthContext): C {
    if (this.#connections.has(connection)) return connection;
    if (caller) connection.authorise(this.callers.credentialOf(caller));
    this.#connections.set(connection, performance.now() + this.maxAgeMs());
    this.#looking ??= setInterval(() => this.look(), LOOK_MS);
    connection.atEnd(() => this.leave(connection));
    if (this.drainState.has('streams end')) connection.end('draining');
    return connection;
  }

  /**
   * Takes a place for one stream. Returns the function that frees it, which may be called twice.
   * @throws TooManyRequests above the principal's cap, ServiceUnavailable while draining
   */
  admit(auth: AuthContext, transport: Transport): () => void {
    if (this.drainState.has('streams end')) throw new ServiceUnavailable(1);
    const principal = principalKey(auth);
    const open = this.#perPrincipal.get(principal) ?? 0;
    if (this.config.streamsPerPrincipal > 0 && open >= this.config.streamsPerPrincipal) throw new TooManyRequests(5);
    this.#perPrincipal.set(principal, open + 1);
    const close = this.counted(transport);
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      close();
      const left = (this.#perPrincipal.get(principal) ?? 1) - 1;
      if (left > 0) this.#perPrincipal.set(principal, left);
      else this.#perPrincipal.delete(principal);
    };
  }

  /** For the metric alone: a stream that takes no place. Call the returned function once, when it ends. */
  counted(transport: Transport): () => void {
    this.metrics.adjust('streams_active', 1, { transport });
    return () => this.metrics.adjust('streams_active', -1, { transport });
  }

  /** Admits no more, and ends every connection, spread over `overMs` so that their clients do not all reconnect at once. */
  async drain(overMs: number): Promise<void> {
    this.drainState.reach('streams end');
    await Promise.all(
      [...this.#connections.keys()].map(async (connection) => {
        await delay(Math.random() * overMs);
        connection.end('draining');
      }),
    );
  }

  private look(): void {
    const now = performance.now();
    for (const [connection, oldAt] of this.#connections) {
      if (now < oldAt) connection.look(now);
      else connection.end('max_age');
    }
  }

  private leave(connection: Connection): void {
    this.#connections.delete(connection);
    if (this.#connections.size > 0) return;
    clearInterval(this.#looking);
    this.#looking = undefined;
  }

  private maxAgeMs(): number {
    return this.config.streamMaxSeconds * 1000 * (1 - AGE_JITTER * Math.random());
  }
}
