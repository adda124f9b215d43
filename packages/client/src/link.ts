import { asError, type TaskBridgeError, unreachable } from './errors.js';
import type { Followed, Frame } from './followed.js';
import type { Http } from './http.js';
import { type Live, LiveValue } from './live.js';
import { byPoll } from './poll.js';
import type { Session } from './session.js';
import { bySocket } from './socket.js';
import { bySse } from './sse.js';
import { backoff, linked, type Linked, pause } from './waiting.js';

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
    this.connection = this.#live = new LiveValue(() => this.#state);
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
    this.#linger = setTimeout(() => this.#cut('Nothing is followed.'), LINGER_MS);
  }

  get followed(): ReadonlyMap<string, Followed> {
    return this.#followed;
  }

  /** The page is in front again, or its network may be another one. */
  wake(isOtherNetwork: boolean): void {
    if (isOtherNetwork) this.#level = 0;
    if (isOtherNetwork || Date.now() - this.#heardAt > DOUBTFUL_MS) this.#cut('The network may be another one.');
    this.#waker?.abort();
  }

  /** No connection, until `resume`: the page leaves the screen, or another tab has the connection. */
  leave(): void {
    this.isAway = true;
    this.#cut('The page is away.');
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
    this.#live.stop();
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    let failures = 0;
    let refusals = 0;
    while (this.#followed.size > 0 && !this.isAway && !this.http.closed.aborted) {
      if (Date.now() - this.#fellAt > RISE_MS) this.#level = 0;
      const { error, wasOpen } = await this.#tryAll();
      failures = wasOpen ? 0 : failures + 1;
      refusals = error.status === 401 && !wasOpen ? refusals + 1 : 0;
      // Credentials were asked twice, and neither counts. Any other refusal would be the same again.
      if (refusals > 1 || (!error.mayPass && error.status !== 401)) this.#failAll(error);
      if (this.#followed.size === 0 || this.isAway || this.http.closed.aborted) break;
      const waitMs =
        refusals > 0 ? 0 : Math.max(error.retryAfterMs ?? 0, error.retryAfterMs === 0 ? 0 : backoff(failures));
      this.#show({ status: 'waiting', retryAt: Date.now() + waitMs, error });
      this.#waker = linked(this.http.closed);
      await pause(waitMs, this.#waker.signal);
      this.#waker.unlink();
    }
    this.#isRunning = false;
    if (!this.http.closed.aborted) this.#show({ status: this.isAway ? 'away' : 'idle' });
  }

  /** From the transport that works to the last, until one of them does. */
  async #tryAll(): Promise<{ readonly error: TaskBridgeError; readonly wasOpen: boolean }> {
    const from = this.#level;
    for (let level = from; ; level += 1) {
      const { error, wasOpen, wasCut } = await this.#connect(this.#names[level] ?? 'poll');
      if (wasOpen && level > from) [this.#level, this.#fellAt] = [level, Date.now()];
      // None works: the fault is not that of a transport.
      const isLast = level + 1 >= this.#names.length;
      if (isLast && !wasOpen) this.#level = 0;
      if (wasOpen || wasCut || isLast) return { error, wasOpen };
    }
  }

  async #connect(name: TransportName) {
    let wasOpen = false;
    this.#show({ status: 'connecting', transport: name, ...(this.#state.error && { error: this.#state.error }) });
    const cutter = (this.#cutter = linked(this.http.closed));
    const session: Session = (this.#session = {
      followed: this.#followed,
      signal: cutter.signal,
      heard: () => {
        this.#heardAt = Date.now();
        if (!wasOpen) this.#show({ status: 'open', transport: name });
        wasOpen = true;
      },
      receive: (followed, frame) => {
        followed.receive(frame);
        this.sharing?.relay(followed.key, frame);
      },
    });
    const { WebSocket: Socket = globalThis.WebSocket } = this.options;
    const error = await {
      websocket: () => bySocket(session, this.http, Socket),
      sse: () => bySse(session, this.http),
      poll: () => byPoll(session, this.http),
    }
      [name]()
      .catch(asError);
    const wasCut = cutter.signal.aborted;
    cutter.abort();
    cutter.unlink();
    this.#session = undefined;
    return { error, wasOpen, wasCut };
  }

  #cut(why: string): void {
    this.#cutter?.abort(unreachable(why, 0));
  }

  #failAll(error: TaskBridgeError): void {
    for (const followed of [...this.#followed.values()]) followed.fail(error);
  }

  #show(state: Connection): void {
    this.#state = state;
    this.#live.changed();
  }
}
