import type { Transport } from './transport.js';

/** Why a stream, or the connection that carries it, ended. */
export type StreamEnd =
  | 'terminal'
  | 'unsubscribed'
  | 'client_left'
  /** The client answers no pings. */
  | 'lost'
  | 'slow_consumer'
  | 'max_age'
  | 'draining'
  | 'no_subscribe'
  /** The client broke the protocol, or may not do what it asked for. */
  | 'refused'
  /** The task is gone. */
  | 'removed'
  | 'failed';

/** A client's connection, of whichever transport. It ends once, for one reason, and every stream on it ends with it. */
export class Connection {
  readonly #ended = new AbortController();
  #why: StreamEnd | undefined;

  constructor(readonly transport: Transport) {}

  /** Aborts at the end, whoever brought it about. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  get why(): StreamEnd | undefined {
    return this.#why;
  }

  /** Only the first call counts. */
  end(why: StreamEnd): void {
    if (this.#why) return;
    this.#why = why;
    this.#ended.abort();
    if (why !== 'client_left') this.sayGoodbye(why);
  }

  protected sayGoodbye(_why: StreamEnd): void {}
}
