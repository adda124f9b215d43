import { connect } from 'node:net';
import pg from 'pg';
import { type Framing, type Said, SteppingProxy, type Trip, type TripMatcher } from './stepping-proxy.js';

/** One request of a client up to Sync or a simple Query; PostgreSQL answers it up to ReadyForQuery. */
interface Statements {
  /** The texts of its statements; a prepared statement counts under the text it was parsed from. */
  readonly sql: string;
  /** The bound parameters as they were sent, readable where they were text. */
  readonly parameters: string;
}

export type RoundTrip = Trip<Statements>;
export type Matcher = TripMatcher<Statements>;

/** A proxy between a service and PostgreSQL. */
export class PostgresProxy extends SteppingProxy<Statements> {
  #url = '';

  /** `url` is `databaseUrl` through it. */
  static async start(databaseUrl: string): Promise<PostgresProxy> {
    const { host, port, user = '', database = '' } = new pg.Client({ connectionString: databaseUrl });
    const dial = () => (host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host));
    const proxy = new PostgresProxy(dial, () => new PostgresFraming());
    await proxy.listen();
    const authority = `${encodeURIComponent(user)}@127.0.0.1:${proxy.port}`;
    proxy.#url = `postgresql://${authority}/${encodeURIComponent(database)}`;
    return proxy;
  }

  get url(): string {
    return this.#url;
  }

  /** Holds the next COMMIT of a transaction in which a request matched; the other connections go on. */
  holdCommit(matches: Matcher): { readonly held: Promise<void>; release(): void } {
    return this.hold(({ sql }) => /\bcommit\b/i.test(sql), matches);
  }
}

class PostgresFraming implements Framing<Statements> {
  readonly #client = cutter('startup');
  readonly #server = cutter('typed');
  readonly #statements = new Map<string, string>();
  #frames: Buffer[] = [];
  #sql: string[] = [];
  #parameters = '';

  *fromClient(bytes: Buffer): Iterable<Said<Statements>> {
    for (const frame of this.#client(bytes)) {
      const type = frame[0] === 0 ? 'startup' : String.fromCharCode(frame[0] ?? 0);
      // SSLRequest and GSSENCRequest: a plain "no" makes the client go on unencrypted.
      if (type === 'startup' && [80877103, 80877104].includes(frame.readInt32BE(4))) {
        yield { bytes: frame, answeredWith: 'N' };
      } else if (type === 'startup' || type === 'p' || type === 'X') yield { bytes: frame };
      else yield* this.#request(type, frame);
    }
  }

  *fromServer(bytes: Buffer) {
    for (const frame of this.#server(bytes)) {
      // ReadyForQuery, and whether it says that no transaction is open.
      const isEnd = frame[0] === 0x5a;
      yield { bytes: frame, isEnd, isIdle: isEnd && frame[5] === 0x49 };
    }
  }

  *#request(type: string, frame: Buffer): Iterable<Said<Statements>> {
    this.#frames.push(frame);
    if (type === 'P') {
      const [name = '', sql = ''] = strings(frame, 2);
      this.#statements.set(name, sql);
    } else if (type === 'B') {
      this.#sql.push(this.#statements.get(strings(frame, 2)[1] ?? '') ?? '');
      this.#parameters += frame.toString('latin1');
    } else if (type === 'Q') this.#sql.push(...strings(frame, 1));
    if (type !== 'S' && type !== 'Q') return;
    yield { bytes: Buffer.concat(this.#frames), request: { sql: this.#sql.join('; '), parameters: this.#parameters } };
    this.#frames = [];
    this.#sql = [];
    this.#parameters = '';
  }
}

/** Cuts a byte stream into protocol messages. The first ones of a client (`startup`) have a length but no type byte. */
function cutter(phase: 'startup' | 'typed'): (bytes: Buffer) => Iterable<Buffer> {
  let pending = Buffer.alloc(0);
  let typed = phase === 'typed';
  return function* (bytes) {
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
      yield frame;
    }
  };
}

/** The first `count` zero-terminated strings of a typed message. */
function strings(frame: Buffer, count: number): string[] {
  return frame.toString('utf8', 5).split('\0', count);
}
