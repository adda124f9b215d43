import type { EventEmitter } from 'node:events';
import { Socket } from 'node:net';
import pg, { type ClientConfig } from 'pg';
import type { Way } from './tls-mode.js';

export interface ConnectionOptions extends ClientConfig {
  /** Both ways, where there are two. `ssl` is then the one over TLS, in either order. */
  readonly ways?: readonly [Way, Way];
}

/** A client of `pg` that, with `sslmode` prefer or allow, goes the other way where the server refuses the first. */
export class Client extends pg.Client {
  constructor(options: ConnectionOptions = {}) {
    const { ways } = options;
    super(
      ways === undefined ? options : ({ ...options, connection: new TwoWayConnection(ways, options) } as ClientConfig),
    );
  }
}

/** The part of `pg.Connection` that is used here, and that its types leave out. */
interface PgConnection extends EventEmitter {
  stream: Socket;
  ssl: Way;
  /** Nothing waits for an answer any more. */
  readonly _ending: boolean;
  connect(port: number | string, host?: string): void;
  requestSsl(): void;
  attachListeners(stream: Socket): void;
}

const PgConnection = pg.Connection as unknown as new (options: object) => PgConnection;

/** No entry of pg_hba.conf admits this login in this way. */
const REFUSED_BY_HBA = '28000';

/**
 * The client tries the second way in three cases: the server has no TLS, its certificate or the handshake fails, or pg_hba.conf
 * refuses the login in the first way. It never does so after the server has asked for a password. `pg` knows of one connection
 * only, and always asks for TLS.
 */
class TwoWayConnection extends PgConnection {
  readonly #second: Way;
  #isOpen = false;
  #goSecondWay: () => void = () => {};

  constructor([first, second]: readonly [Way, Way], options: ClientConfig) {
    super({ ...options, ssl: first });
    this.#second = second;
  }

  override connect(port: number | string, host?: string): void {
    const first = this.stream;
    this.#goSecondWay = () => {
      for (const stream of new Set([this.stream, first])) {
        stream.removeAllListeners();
        stream.on('error', () => {});
        stream.destroy();
      }
      this.#settle();
      this.ssl = this.#second;
      this.stream = new Socket();
      super.connect(port, host);
    };
    super.connect(port, host);
  }

  override requestSsl(): void {
    if (this.ssl === false) {
      this.emit('sslconnect');
      return;
    }
    // `pg` ends the connection to a server without TLS. libpq continues it in the clear.
    const [onAnswer] = this.stream.listeners('data');
    this.stream.removeAllListeners('data').once('data', (answer: Buffer) => {
      if (answer.toString() !== 'N' || this.#second !== false) {
        onAnswer?.call(this.stream, answer);
        return;
      }
      this.#settle();
      this.attachListeners(this.stream);
      this.emit('sslconnect');
    });
    super.requestSsl();
  }

  override emit(event: string, ...args: unknown[]): boolean {
    const isRefusal = event === 'errorMessage' && (args[0] as { code?: string }).code === REFUSED_BY_HBA;
    if (isRefusal || (event === 'error' && this.#isOpen && !this._ending)) {
      this.#goSecondWay();
      return true;
    }
    if (event === 'connect') this.#isOpen = true;
    // The server asks for the password, or needs none. So it accepts this way.
    if (event.startsWith('authentication')) this.#settle();
    return super.emit(event, ...args);
  }

  /** The listeners go now, because each message of the server is an event. */
  #settle(): void {
    this.emit = super.emit;
  }
}
