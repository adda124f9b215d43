import { asError, AT_ONCE, type TaskBridgeError, unreachable } from './errors.js';
import type { Followed, Frame } from './followed.js';
import type { Http } from './http.js';
import { type Live, LiveValue } from './live.js';
import { byPoll } from './poll.js';
import type { Session } from './session.js';
import { bySocket } from './socket.js';
import { bySse } from './sse.js';
import { backoff, linked, type Linked, pause, SILENCE } from './waiting.js';

export type TransportName = 'websocket' | 'sse' | 'poll';

/** How the client reaches the service. A connection that is cut comes back by itself: no state here is an end but `closed`. */
export interface Connection {
  /**
   * `idle`: nothing is followed. `waiting`: the last try failed, and the next is at `retryAt`. `away`: the page is in the back and forward
   * cache.
   */
  readonly status: 'idle' | 'connecting' | 'open' | 'waiting' | 'away' | 'closed';
  readonly transport?: TransportName;
  /** Milliseconds since 1970, as `Date.now()`. */
  readonly retryAt?: number;
  /** Why the last connection ended. */
  readonly error?: TaskBridgeError | undefined;
}

export interface LinkOptions {
  /** In the order in which they are tried. Defaults to all three. */
  readonly transports?: readonly TransportName[] | undefined;
  readonly WebSocket?: typeof WebSocket | undefined;
}

/** Tabs that may share one connection: what they need to know of it. */
export interface Sharing {
  /** Something is followed in this tab from now on, or no longer. */
  changed(followed: Followed, isAdded: boolean): void;
  /** A frame came over the connection of this tab. */
  relay(key: string, frame: Frame): void;
}

/** How long a connection stays open without anything that is followed. */
const LINGER_MS = 1_000;
/** How long a lower transport is kept before the first is tried again. */
const RISE_MS = 300_000;
/** A page that comes back to the front after this much silence asks for a new connection. */
const DOUBTFUL_MS = 20_000;

/** The one connection of a client. It exists while something is followed, and comes back when it breaks. */
export class Link {
  readonly connection: Live<Connection>;
  sharing: Sharing | undefined;
  readonly #live: LiveValue<Connection>;
  readonly #followed = new Map<string, Followed>();
  readonly #names: readonly TransportName[];
  #state: Connection = { status: 'idle' };
  #session: Session | undefined;
  #cutter: Linked | undefined;
  /** Ends the pause before the next try. */
  #waker: Linked | undefined;
  #linger: ReturnType<typeof setTimeout> | undefined;
  #isRunning = false;
  /** The transport that works, as far as is known. */
  #level = 0;
  #fellAt = 0;
  #heardAt = 0;

  constructor(
    private readonly http: Http,
    private readonly options: LinkOptions,
    /** No connection until `resume`. */
    private isAway: boolean,
  ) {
    this.connection = this.#live = new LiveValue(() => this.#state, http.closed);
    const { transports = ['websocket', 'sse', 'poll'], WebSocket: Socket = globalThis.WebSocket } = options;
    this.#names = transports.filter((name) => name !== 'websocket' || typeof Socket === 'function');
    http.closed.addEventListener('abort', () => this.#show({ status: 'closed' }));
  }

  /** Something else under the same key is followed no longer. */
  follow(followed: Followed): void {
    const before = this.#followed.get(followed.key);
    this.#followed.set(followed.key, followed);
    clearTimeout(this.#linger);
    if (before) this.#session?.onChange?.(before, false);
    if (this.#session) this.#session.onChange?.(followed, true);
    else void this.#run();
    this.sharing?.changed(followed, true);
  }

  unfollow(followed: Followed): void {
    if (this.#followed.get(followed.key) !== followed) return;
    this.#followed.delete(followed.key);
    this.#session?.onChange?.(followed, false);
    this.sharing?.changed(followed, false);
    if (this.#followed.size > 0) return;
    clearTimeout(this.#linger);
    this.#linger = setTimeout(() => this.#cut(), LINGER_MS);
  }

  get followed(): ReadonlyMap<string, Followed> {
    return this.#followed;
  }

  /** The page is in front again, or its network may be another one. */
  wake(isOtherNetwork: boolean): void {
    if (isOtherNetwork) this.#level = 0;
    if (isOtherNetwork || Date.now() - this.#heardAt > DOUBTFUL_MS) this.#cut();
    this.#waker?.abort();
  }

  /** No connection, until `resume`: the page leaves the screen, or another tab has the connection. */
  leave(): void {
    this.isAway = true;
    this.#cut();
    this.#waker?.abort();
  }

  resume(): void {
    this.isAway = false;
    void this.#run();
  }

  /** The connection of another tab, which is also that of this one. */
  mirror(connection: Connection): void {
    if (this.isAway) this.#show(connection);
  }

  close(): void {
    clearTimeout(this.#linger);
  }

  async #run(): Promise<void> {
    if (this.#isRunning || this.isAway) return;
    this.#isRunning = true;
    const { closed } = this.http;
    for (let failures = 0, refusals = 0; this.#followed.size > 0 && !this.isAway && !closed.aborted; ) {
      const error = await this.#try();
      const wasOpen = this.#state.status === 'open';
      failures = wasOpen ? 0 : failures + 1;
      const isUnknown = error.status === 401;
      refusals = isUnknown && !wasOpen ? refusals + 1 : 0;
      // Credentials were asked twice, and neither counts. Any other refusal would be the same again.
      if (isUnknown ? refusals > 1 : !error.mayPass) this.#followed.forEach((followed) => followed.fail(error));
      if (this.#followed.size === 0 || this.isAway || closed.aborted) break;
      const isDue = error.retryAfterMs === AT_ONCE || refusals > 0;
      const waitMs = isDue ? 0 : Math.max(error.retryAfterMs ?? 0, backoff(failures));
      this.#show({ status: 'waiting', retryAt: Date.now() + waitMs, error });
      this.#waker = linked(closed);
      await pause(waitMs, this.#waker.signal);
    }
    this.#isRunning = false;
    if (!closed.aborted) this.#show({ status: this.isAway ? 'away' : 'idle' });
  }

  /** From the transport that works to the last, until one of them does. Returns why the last connection ended. */
  async #try(): Promise<TaskBridgeError> {
    if (Date.now() - this.#fellAt > RISE_MS) this.#level = 0;
    for (let level = this.#level; ; level += 1) {
      const error = await this.#connect(this.#names[level] ?? 'poll');
      const isLast = level + 1 >= this.#names.length;
      // One that was cut here, because the network may be another one, says nothing about the transport.
      if (error.retryAfterMs === AT_ONCE) return error;
      if (this.#state.status === 'open') {
        const next = error === SILENCE && !isLast ? level + 1 : level;
        if (next > this.#level) this.#fellAt = Date.now();
        this.#level = next;
        // None works: the fault is not that of a transport.
      } else if (isLast) this.#level = 0;
      else if (!this.http.closed.aborted) continue;
      return error;
    }
  }

  /** One connection, to its end. Then the status is `open` where it was. */
  async #connect(transport: TransportName): Promise<TaskBridgeError> {
    this.#show({ status: 'connecting', transport, error: this.#state.error });
    const cutter = (this.#cutter = linked(this.http.closed));
    const session: Session = (this.#session = {
      followed: this.#followed,
      signal: cutter.signal,
      heard: () => {
        this.#heardAt = Date.now();
        if (this.#state.status !== 'open') this.#show({ status: 'open', transport });
      },
      receive: (followed, frame) => {
        followed.receive(frame);
        this.sharing?.relay(followed.key, frame);
      },
    });
    const carry = { websocket: bySocket, sse: bySse, poll: byPoll }[transport];
    const error = await carry(session, this.http, this.options.WebSocket ?? globalThis.WebSocket).catch(asError);
    cutter.abort();
    this.#session = undefined;
    return error;
  }

  #cut(): void {
    this.#cutter?.abort(unreachable(undefined, AT_ONCE));
  }

  #show(state: Connection): void {
    if (this.#state.status === 'closed') return;
    this.#state = state;
    this.#live.changed();
  }
}
