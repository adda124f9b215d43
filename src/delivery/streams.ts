import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { ServiceUnavailable, TooManyRequests } from '../http/http.errors.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import type { Connection } from './connection.js';
import { DeliveryConfig } from './delivery.config.js';
import type { Transport } from './transport.js';

/** Connections of one age do not all come back at once. */
const AGE_JITTER = 0.1;
/** More than this a timer takes for nothing. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The streams of this replica, and the connections that carry them: how many a principal may have, and how all of them end. */
@Injectable()
export class Streams {
  readonly #connections = new Set<Connection>();
  readonly #perPrincipal = new Map<string, number>();
  #isDraining = false;

  constructor(
    private readonly config: DeliveryConfig,
    private readonly metrics: MetricsSink,
  ) {}

  /** Whether connections are being sent away, and no stream is admitted any more. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** From now on the connection grows old, and a drain sends it away. */
  join<C extends Connection>(connection: C): C {
    const age = setTimeout(() => connection.end('max_age'), this.maxAgeMs());
    this.#connections.add(connection);
    connection.ended.addEventListener('abort', () => {
      clearTimeout(age);
      this.#connections.delete(connection);
    });
    if (this.#isDraining) connection.end('draining');
    return connection;
  }

  /**
   * A place for one stream. Answers how to give it back, which may be done twice.
   * @throws TooManyRequests above the principal's cap, ServiceUnavailable while draining
   */
  admit(auth: AuthContext, transport: Transport): () => void {
    if (this.#isDraining) throw new ServiceUnavailable(1);
    const principal = JSON.stringify([auth.tenantId, auth.subject]);
    const open = this.#perPrincipal.get(principal) ?? 0;
    if (this.config.streamsPerPrincipal > 0 && open >= this.config.streamsPerPrincipal) throw new TooManyRequests(5);
    this.#perPrincipal.set(principal, open + 1);
    this.metrics.adjust('streams_active', 1, { transport });
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      this.metrics.adjust('streams_active', -1, { transport });
      const left = (this.#perPrincipal.get(principal) ?? 1) - 1;
      if (left > 0) this.#perPrincipal.set(principal, left);
      else this.#perPrincipal.delete(principal);
    };
  }

  /** Ends every connection, spread over so long that their clients do not come back in one moment, and admits no more. */
  async drain(overMs: number): Promise<void> {
    this.#isDraining = true;
    await Promise.all(
      [...this.#connections].map(async (connection) => {
        await delay(Math.random() * overMs);
        connection.end('draining');
      }),
    );
  }

  private maxAgeMs(): number {
    const ms = this.config.streamMaxSeconds * 1000 * (1 - AGE_JITTER * Math.random());
    return Math.min(ms, LONGEST_TIMER_MS);
  }
}
