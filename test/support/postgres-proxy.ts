import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';

/** One request of a client up to Sync or a simple Query; PostgreSQL answers it up to ReadyForQuery. */
export interface RoundTrip {
  readonly connection: number;
  /** The texts of its statements; a prepared statement counts under the text it was parsed from. */
  readonly sql: string;
  /** The bound parameters as they were sent, readable where they were text. */
  readonly parameters: string;
}

export type Matcher = (trip: RoundTrip) => boolean;

export interface Interference {
  /** Which round trips count. Defaults to all. */
  readonly matches?: Matcher;
  /** Runs while the round trip is stopped, before the connection is cut. */
  readonly act?: () => unknown;
}

interface Breakpoint extends Required<Interference> {
  readonly side: 'before' | 'after';
  remaining: number;
  readonly hit: (trip: RoundTrip) => void;
}

interface Hold {
  readonly matches: Matcher;
  readonly caught: () => void;
  readonly released: Promise<void>;
}

const everything: Matcher = () => true;

/** Stands between a service and PostgreSQL and stops, cuts or delays the conversation at a chosen round trip. */
export class PostgresProxy {
  /** Every round trip so far, in the order in which the requests arrived. */
  readonly trips: RoundTrip[] = [];
  readonly #breakpoints = new Set<Breakpoint>();
  readonly #holds = new Set<Hold>();
  readonly #sockets = new Set<Socket>();
  #delay: { ms: number; matches: Matcher } | undefined;
  #connections = 0;
  /** What came in while the network swallowed everything. */
  #unserved: Socket[] | undefined;

  private constructor(
    readonly url: string,
    private readonly server: Server,
    private readonly dial: () => Socket,
  ) {}

  /** Listens on a free loopback port; `url` is `databaseUrl` through it. */
  static async start(databaseUrl: string): Promise<PostgresProxy> {
    const { host, port, user = '', database = '' } = new pg.Client({ connectionString: databaseUrl });
    const dial = () => (host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host));
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const authority = `${encodeURIComponent(user)}@127.0.0.1:${(server.address() as AddressInfo).port}`;
    const proxy = new PostgresProxy(`postgresql://${authority}/${encodeURIComponent(database)}`, server, dial);
    server.on('connection', (client) => proxy.#take(client));
    return proxy;
  }

  count(matches: Matcher = everything): number {
    return this.trips.filter(matches).length;
  }

  /** How many cuts were ordered whose round trip has not been reached. */
  get armed(): number {
    return this.#breakpoints.size;
  }

  /** Cuts the connection instead of forwarding the k-th matching request from now on. */
  readonly before = (k: number, interference?: Interference) => this.#break('before', k, interference);

  /** Lets PostgreSQL answer the k-th matching request from now on, keeps the answer, and cuts the connection. */
  readonly after = (k: number, interference?: Interference) => this.#break('after', k, interference);

  /** Holds the next COMMIT of a transaction in which a request matched; the other connections go on. */
  holdCommit(matches: Matcher): { readonly held: Promise<void>; release(): void } {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const { promise: held, resolve: caught } = Promise.withResolvers<void>();
    this.#holds.add({ matches, caught, released });
    return { held, release };
  }

  delay(ms: number, matches: Matcher = everything): void {
    this.#delay = { ms, matches };
  }

  /** Swallows everything: connections stay, new ones are taken, and nothing gets through in either direction. */
  blackHole(): void {
    this.#unserved ??= [];
    for (const socket of this.#sockets) socket.pause();
  }

  /** Cuts every connection and takes none, as a server that is down. */
  async refuse(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async accept(): Promise<void> {
    const { port } = new URL(this.url);
    await new Promise<void>((resolve) => this.server.listen(Number(port), '127.0.0.1', resolve));
  }

  /** Interferes with nothing any more; a COMMIT that is held stays held until released. */
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
    await new Promise((resolve) => this.server.close(resolve));
  }

  #break(side: Breakpoint['side'], k: number, { matches = everything, act = () => {} }: Interference = {}) {
    const { promise, resolve: hit } = Promise.withResolvers<RoundTrip>();
    this.#breakpoints.add({ side, matches, act, remaining: k, hit });
    return promise;
  }

  #reached(trip: RoundTrip): Breakpoint | undefined {
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
    const connection = ++this.#connections;
    const statements = new Map<string, string>();
    const transaction: RoundTrip[] = [];
    let answered: (() => void) | undefined;
    let withheld = false;
    let request = { frames: [] as Buffer[], sql: [] as string[], parameters: '' };
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

    const perform = async (frames: readonly Buffer[], trip: RoundTrip) => {
      this.trips.push(trip);
      const stop = this.#reached(trip);
      if (stop?.side !== 'before') {
        transaction.push(trip);
        if (this.#delay?.matches(trip)) await pause(this.#delay.ms);
        if (/\bcommit\b/i.test(trip.sql)) await this.#holdIfWanted(transaction);
        const answer = Promise.withResolvers<void>();
        answered = answer.resolve;
        withheld = stop !== undefined;
        server.write(Buffer.concat(frames));
        await answer.promise;
      }
      if (stop === undefined) return;
      await stop.act();
      stop.hit(trip);
      cut();
    };

    const fromClient = framesOf('startup', (frame) => {
      const type = frame[0] === 0 ? 'startup' : String.fromCharCode(frame[0] ?? 0);
      // SSLRequest and GSSENCRequest: a plain "no" makes the client go on unencrypted.
      if (type === 'startup' && [80877103, 80877104].includes(frame.readInt32BE(4))) return void client.write('N');
      if (type === 'startup' || type === 'p' || type === 'X') return void server.write(frame);
      request.frames.push(frame);
      if (type === 'P') {
        const [name = '', sql = ''] = strings(frame, 2);
        statements.set(name, sql);
      } else if (type === 'B') {
        request.sql.push(statements.get(strings(frame, 2)[1] ?? '') ?? '');
        request.parameters += frame.toString('latin1');
      } else if (type === 'Q') request.sql.push(...strings(frame, 1));
      if (type !== 'S' && type !== 'Q') return;
      const { frames, sql, parameters } = request;
      request = { frames: [], sql: [], parameters: '' };
      turn = turn.then(() => perform(frames, { connection, sql: sql.join('; '), parameters }));
    });
    const fromServer = framesOf('typed', (frame) => {
      if (!withheld) client.write(frame);
      // ReadyForQuery, and whether it says that no transaction is open.
      if (frame[0] !== 0x5a) return;
      if (frame[5] === 0x49) transaction.length = 0;
      answered?.();
    });
    client.on('data', fromClient);
    server.on('data', fromServer);
  }

  async #holdIfWanted(transaction: readonly RoundTrip[]): Promise<void> {
    const hold = [...this.#holds].find(({ matches }) => transaction.some(matches));
    if (hold === undefined) return;
    this.#holds.delete(hold);
    hold.caught();
    await hold.released;
  }
}

/** Cuts a byte stream into protocol messages. The first ones of a client (`startup`) have a length but no type byte. */
function framesOf(phase: 'startup' | 'typed', deliver: (frame: Buffer) => void): (bytes: Buffer) => void {
  let pending = Buffer.alloc(0);
  let typed = phase === 'typed';
  return (bytes) => {
    pending = Buffer.concat([pending, bytes]);
    for (;;) {
      const lengthAt = typed ? 1 : 0;
      if (pending.length < lengthAt + 4) return;
      const end = lengthAt + pending.readInt32BE(lengthAt);
      if (pending.length < end) return;
      const frame = pending.subarray(0, end);
      pending = pending.subarray(end);
      // Only the real StartupMessage (protocol 3.x) ends the phase without types.
      if (!typed && frame.readInt32BE(4) >>> 16 === 3) typed = true;
      deliver(frame);
    }
  };
}

/** The first `count` zero-terminated strings of a typed message. */
function strings(frame: Buffer, count: number): string[] {
  return frame.toString('utf8', 5).split('\0', count);
}
