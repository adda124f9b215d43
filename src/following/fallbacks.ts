import { Injectable } from '@nestjs/common';
import { MetricsSink } from '../observability/metrics-sink.js';
import type { Transport } from './transport.js';

/** A client that comes later reconnects, and does not fall back. */
const GOES_ON_WITHIN_MS = 60_000;
const MOST_REMEMBERED = 10_000;

/** A greater number means a more capable transport. */
const CAPABILITY: Readonly<Record<Transport, number>> = { websocket: 3, sse: 2, long_poll: 1 };

/**
 * Counts clients that continue a task over a less capable transport than the one that just ended. A proxy that cuts WebSockets
 * causes that. It does not see a proxy that never lets WebSockets through, or clients that continue at another replica.
 */
@Injectable()
export class Fallbacks {
  /** Streams that ended before their task, oldest first. */
  readonly #ended = new Map<string, { readonly transport: Transport; readonly at: number }>();

  constructor(private readonly metrics: MetricsSink) {}

  began(reader: string, transport: Transport): void {
    const before = this.#ended.get(reader);
    if (before === undefined) return;
    this.#ended.delete(reader);
    const goesOn = performance.now() - before.at < GOES_ON_WITHIN_MS;
    if (goesOn && CAPABILITY[transport] < CAPABILITY[before.transport]) this.metrics.increment('fallbacks_total');
  }

  ended(reader: string, transport: Transport): void {
    // No transport is less capable.
    if (transport === 'long_poll') return;
    this.#ended.delete(reader);
    this.#ended.set(reader, { transport, at: performance.now() });
    if (this.#ended.size <= MOST_REMEMBERED) return;
    const [oldest] = this.#ended.keys();
    if (oldest !== undefined) this.#ended.delete(oldest);
  }
}
