import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** What `Asked` says of a request, on which connection it came, and how many bytes the server answered with so far. */
export type Trip<Asked> = Asked & { readonly connection: number; answeredBytes: number };
export type TripMatcher<Asked> = (trip: Trip<Asked>) => boolean;

/** A piece of what a client sends: a request that is answered, or what is passed on, or answered here, without being one. */
export interface Said<Asked> {
  readonly bytes: Buffer;
  readonly request?: Asked;
  readonly answeredWith?: string;
}

/** A piece of what a server sends. */
export interface Answered {
  readonly bytes: Buffer;
  /** Whether the answer to a request ends with it. */
  readonly isEnd: boolean;
  /** Whether no transaction is open after it. */
  readonly isIdle: boolean;
}

/** How one connection's bytes are cut into requests and answers. Both are called in the order of the bytes. */
export interface Framing<Asked> {
  fromClient(bytes: Buffer): Iterable<Said<Asked>>;
  fromServer(bytes: Buffer): Iterable<Answered>;
}

export interface Interference<Asked> {
  /** Which round trips count. Defaults to all. */
  readonly matches?: TripMatcher<Asked>;
  /** Runs while the round trip is stopped, before the connection is cut. */
  readonly act?: () => unknown;
}

interface Breakpoint<Asked> extends Required<Interference<Asked>> {
  readonly side: 'before' | 'after';
  remaining: number;
  readonly hit: (trip: Trip<Asked>) => void;
}

interface Hold<Asked> {
  readonly matches: TripMatcher<Asked>;
  readonly after: TripMatcher<Asked>;
  readonly caught: () => void;
  readonly released: Promise<void>;
}

const everything = () => true;

/** Stands between a service and a server and stops, cuts or delays the conversation at a chosen round trip. */
export class SteppingProxy<Asked extends object> {
  /** Every round trip so far, in the order in which the requests were passed on. */
  readonly trips: Trip<Asked>[] = [];
  readonly #server: Server;
  readonly #breakpoints = new Set<Breakpoint<Asked>>();
  readonly #holds = new Set<Hold<Asked>>();
  readonly #sockets = new Set<Socket>();
  #delay: { ms: number; matches: TripMatcher<Asked> } | undefined;
  #connections = 0;
  /** What came in while the network swallowed everything. */
  #unserved: Socket[] | undefined;
  #port = 0;

  protected constructor(
    private readonly dial: () => Socket,
    private readonly framing: () => Framing<Asked>,
  ) {
    this.#server = createServer((client) => this.#take(client));
  }

  /** Listens on a free loopback port. */
  protected async listen(): Promise<void> {
    await this.accept();
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  get port(): number {
    return this.#port;
  }

  count(matches: TripMatcher<Asked> = everything): number {
    return this.trips.filter(matches).length;
  }

  /** How many cuts were ordered whose round trip has not been reached. */
  get armed(): number {
    return this.#breakpoints.size;
  }

  /** Cuts the connection instead of forwarding the k-th matching request from now on. */
  readonly before = (k: number, interference?: Interference<Asked>) => this.#break('before', k, interference);

  /** Lets the server answer the k-th matching request from now on, keeps the answer, and cuts the connection. */
  readonly after = (k: number, interference?: Interference<Asked>) => this.#break('after', k, interference);

  /** Holds the next request that matches, on a connection where `after` has come in the same transaction; no others. */
  hold(
    matches: TripMatcher<Asked>,
    after: TripMatcher<Asked> = everything,
  ): { readonly held: Promise<void>; release(): void } {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const { promise: held, resolve: caught } = Promise.withResolvers<void>();
    this.#holds.add({ matches, after, caught, released });
    return { held, release };
  }

  delay(ms: number, matches: TripMatcher<Asked> = everything): void {
    this.#delay = { ms, matches };
  }

  /** Swallows everything: connections stay, new ones are taken, and nothing gets through in either direction. */
  blackHole(): void {
    this.#unserved ??= [];
    for (const socket of this.#sockets) socket.pause();
  }

  /** Cuts every connection and takes none, as a server that is down. */
  async refuse(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Takes connections, again on the same port. */
  async accept(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
  }

  /** Interferes with nothing any more; what is held stays held until released. */
  resume(): void {
    this.#breakpoints.clear();
    this.#holds.clear();
    this.#delay = undefined;
    const unserved = this.#unserved ?? [];
    this.#unserved = undefined;
    for (const socket of this.#sockets) socket.resume();
    for (const client of unserved) if (!client.destroyed) this.#serve(client);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #break(side: 'before' | 'after', k: number, { matches = everything, act = () => {} }: Interference<Asked> = {}) {
    const { promise, resolve: hit } = Promise.withResolvers<Trip<Asked>>();
    this.#breakpoints.add({ side, matches, act, remaining: k, hit });
    return promise;
  }

  #reached(trip: Trip<Asked>): Breakpoint<Asked> | undefined {
    for (const breakpoint of this.#breakpoints) {
      if (!breakpoint.matches(trip) || --breakpoint.remaining > 0) continue;
      this.#breakpoints.delete(breakpoint);
      return breakpoint;
    }
    return undefined;
  }

  #take(client: Socket): void {
    if (this.#unserved === undefined) return this.#serve(client);
    this.#unserved.push(client);
    this.#sockets.add(client);
    client.on('error', () => {}).on('close', () => this.#sockets.delete(client));
  }

  #serve(client: Socket): void {
    const server = this.dial();
    const framing = this.framing();
    const connection = ++this.#connections;
    const transaction: Trip<Asked>[] = [];
    let answered: (() => void) | undefined;
    let asked: Trip<Asked> | undefined;
    let withheld = false;
    let turn = Promise.resolve();
    const cut = () => {
      for (const socket of [client, server]) {
        socket.destroy();
        this.#sockets.delete(socket);
      }
    };
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true).on('error', cut).on('close', cut);
    }

    const perform = async (bytes: Buffer, trip: Trip<Asked>) => {
      // Sent behind one at which the connection was cut.
      if (client.destroyed) return;
      this.trips.push(trip);
      const stop = this.#reached(trip);
      if (stop?.side !== 'before') {
        transaction.push(trip);
        if (this.#delay?.matches(trip)) await pause(this.#delay.ms);
        await this.#holdIfWanted(trip, transaction);
        const answer = Promise.withResolvers<void>();
        answered = answer.resolve;
        asked = trip;
        withheld = stop !== undefined;
        server.write(bytes);
        await answer.promise;
      }
      if (stop === undefined) return;
      await stop.act();
      stop.hit(trip);
      cut();
    };

    client.on('data', (data) => {
      for (const { bytes, request, answeredWith } of framing.fromClient(data)) {
        if (answeredWith !== undefined) client.write(answeredWith);
        else if (request === undefined) server.write(bytes);
        // One after the other, also where a client does not wait for answers.
        else turn = turn.then(() => perform(bytes, { ...request, connection, answeredBytes: 0 }));
      }
    });
    server.on('data', (data) => {
      for (const { bytes, isEnd, isIdle } of framing.fromServer(data)) {
        if (asked) asked.answeredBytes += bytes.length;
        if (!withheld) client.write(bytes);
        if (isIdle) transaction.length = 0;
        if (isEnd) answered?.();
      }
    });
  }

  async #holdIfWanted(trip: Trip<Asked>, transaction: readonly Trip<Asked>[]): Promise<void> {
    const hold = [...this.#holds].find(({ matches, after }) => matches(trip) && transaction.some(after));
    if (hold === undefined) return;
    this.#holds.delete(hold);
    hold.caught();
    await hold.released;
  }
}
