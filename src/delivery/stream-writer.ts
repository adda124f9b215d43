import type { StoredEvent } from '../tasks/stored-event.js';
import type { Transport } from './open-subscription.js';

/** Why a stream ended. */
export type StreamEnd = 'terminal' | 'client_left' | 'slow_consumer' | 'max_age' | 'draining' | 'removed' | 'failed';

/** The end of a stream that a transport writes to. Thin: it frames, and knows how its transport says goodbye. */
export abstract class StreamWriter {
  abstract readonly transport: Transport;
  /** Bytes handed over and not yet taken by the network. */
  abstract readonly bufferedBytes: number;
  /** All events in one write. */
  abstract send(events: readonly StoredEvent[]): void;
  /** Shows that the stream lives, though nothing happens. */
  abstract heartbeat(): void;
  abstract end(reason: StreamEnd): void;
}
