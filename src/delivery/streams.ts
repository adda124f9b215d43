import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { ServiceUnavailable, TooManyRequests } from '../http/http.errors.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { TransportDiagnosticsSink } from '../observability/transport-diagnostics-sink.js';
import { TaskNotFound } from '../tasks/domain/tasks.errors.js';
import { DeliveryConfig } from './delivery.config.js';
import type { Transport } from './open-subscription.js';
import type { StreamEnd, StreamWriter } from './stream-writer.js';
import type { Subscription } from './subscription.js';

/** How long a stream that is not read may stay paused. */
const SLOW_CONSUMER_DEADLINE_MS = 10_000;
/** How often a paused stream is looked at. */
const PAUSED_LOOK_MS = 25;
/** Streams of one age do not all come back at once. */
const AGE_JITTER = 0.1;

/** A place for one open stream. */
export interface StreamSlot {
  readonly transport: Transport;
  /** Set by whoever wants the stream to end. */
  readonly ending: AbortSignal;
  release(): void;
}

/** The open streams of this replica: how many a principal may have, how each is fed, and how all of them end. */
@Injectable()
export class Streams {
  readonly #slots = new Set<{ readonly end: AbortController }>();
  readonly #perPrincipal = new Map<string, number>();
  readonly #drain = new AbortController();

  constructor(
    private readonly config: DeliveryConfig,
    private readonly metrics: MetricsSink,
    private readonly diagnostics: TransportDiagnosticsSink,
  ) {
    // One listener a connection is what it is for, and no leak.
    setMaxListeners(0, this.#drain.signal);
  }

  /** @throws TooManyRequests above the principal's cap, ServiceUnavailable while draining */
  admit(auth: AuthContext, transport: Transport): StreamSlot {
    if (this.draining.aborted) throw new ServiceUnavailable(1);
    const principal = JSON.stringify([auth.tenantId, auth.subject]);
    const open = this.#perPrincipal.get(principal) ?? 0;
    if (this.config.streamsPerPrincipal > 0 && open >= this.config.streamsPerPrincipal) throw new TooManyRequests(5);
    this.#perPrincipal.set(principal, open + 1);
    const slot = { end: new AbortController() };
    this.#slots.add(slot);
    this.metrics.adjust('streams_active', 1, { transport });
    const release = () => {
      if (!this.#slots.delete(slot)) return;
      this.metrics.adjust('streams_active', -1, { transport });
      const left = (this.#perPrincipal.get(principal) ?? 1) - 1;
      if (left > 0) this.#perPrincipal.set(principal, left);
      else this.#perPrincipal.delete(principal);
    };
    return { transport, ending: slot.end.signal, release };
  }

  /**
   * Feeds the writer until the task is over, the client leaves, or the stream has to end; then ends it. Never rejects.
   * `left` aborts when the client is gone.
   */
  async feed(subscription: Subscription, writer: StreamWriter, slot: StreamSlot, left: AbortSignal): Promise<void> {
    const { taskId } = subscription;
    const { transport } = writer;
    let reason: StreamEnd | undefined;
    const endAs = (why: StreamEnd) => {
      reason ??= why;
      subscription.close();
    };
    const onLeft = () => endAs('client_left');
    const onEnding = () => endAs('draining');
    left.addEventListener('abort', onLeft);
    slot.ending.addEventListener('abort', onEnding);
    if (left.aborted) onLeft();
    if (slot.ending.aborted) onEnding();
    const heartbeat = setInterval(() => {
      if (writer.bufferedBytes > 0) return;
      writer.heartbeat();
      this.diagnostics.heartbeatSent({ taskId, transport });
    }, this.config.heartbeatSeconds * 1000);
    const age = setTimeout(() => endAs('max_age'), this.maxAgeMs());
    try {
      for (let events; (events = await subscription.next()); ) {
        if (reason) break;
        writer.send(events);
        heartbeat.refresh();
        const lastEventId = String(subscription.lastEventId);
        this.diagnostics.delivered({ taskId, transport, events: events.length, lastEventId });
        if (writer.bufferedBytes > this.config.streamMaxBufferedBytes && !(await this.drained(writer, left))) {
          this.diagnostics.slowConsumer({ taskId, transport });
          endAs('slow_consumer');
        }
      }
    } catch (error) {
      endAs(error instanceof TaskNotFound ? 'removed' : 'failed');
    } finally {
      clearInterval(heartbeat);
      clearTimeout(age);
      left.removeEventListener('abort', onLeft);
      slot.ending.removeEventListener('abort', onEnding);
      subscription.close();
      slot.release();
      const why = reason ?? 'terminal';
      this.diagnostics.disconnected({ taskId, transport, reason: why });
      if (why !== 'client_left') writer.end(why);
    }
  }

  /** Aborts when the replica begins to send its streams away. */
  get draining(): AbortSignal {
    return this.#drain.signal;
  }

  /** Ends every stream, spread over so long that their clients do not come back in one moment, and admits no more. */
  async drain(overMs: number): Promise<void> {
    this.#drain.abort();
    await Promise.all(
      [...this.#slots].map(async ({ end }) => {
        await delay(Math.random() * overMs);
        end.abort();
      }),
    );
  }

  /** Paused: nothing more is handed over until half of what is allowed is left. False when that takes too long. */
  private async drained(writer: StreamWriter, left: AbortSignal): Promise<boolean> {
    const deadline = performance.now() + SLOW_CONSUMER_DEADLINE_MS;
    while (writer.bufferedBytes > this.config.streamMaxBufferedBytes / 2) {
      if (left.aborted) return true;
      if (performance.now() > deadline) return false;
      await delay(PAUSED_LOOK_MS);
    }
    return true;
  }

  private maxAgeMs(): number {
    return this.config.streamMaxSeconds * 1000 * (1 - AGE_JITTER * Math.random());
  }
}
