import { Injectable } from '@nestjs/common';
import { MetricsSink } from '../observability/metrics-sink.js';
import type { Transport } from './transport.js';

/** Later than that it is a client that comes back, not one that goes on. */
const GOES_ON_WITHIN_MS = 60_000;
const MOST_REMEMBERED = 10_000;

/** The more capable, the greater. */
const CAPABILITY: Readonly<Record<Transport, number>> = { websocket: 3, sse: 2, long_poll: 1 };

/**
 * Counts clients that go on with a task over a less capable transport than the one that just ended for them: what a proxy that
 * cuts WebSockets looks like from here. One that never let them through is not seen, nor is who goes on at another replica.
 */
@Injectable()
export class Fallbacks {
  /** Of streams that ended before their task did; the oldest first. */
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
    // Nothing is less capable.
    if (transport === 'long_poll') return;
    this.#ended.delete(reader);
    this.#ended.set(reader, { transport, at: performance.now() });
    if (this.#ended.size <= MOST_REMEMBERED) return;
    const [oldest] = this.#ended.keys();
    if (oldest !== undefined) this.#ended.delete(oldest);
  }
}
