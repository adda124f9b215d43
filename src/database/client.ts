import type { EventEmitter } from 'node:events';
import { Socket } from 'node:net';
import pg, { type ClientConfig } from 'pg';
import type { Way } from './tls-mode.js';

export interface ConnectionOptions extends ClientConfig {
  /** Where there are two. Then `ssl` is the one over TLS, whichever comes first. */
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
  /** No answer is wanted any more. */
  readonly _ending: boolean;
  connect(port: number | string, host?: string): void;
  requestSsl(): void;
  attachListeners(stream: Socket): void;
}

const PgConnection = pg.Connection as unknown as new (options: object) => PgConnection;

/** No entry of pg_hba.conf lets this login in over this way. */
const REFUSED_BY_HBA = '28000';

/**
 * The second way is gone where the server has no TLS, where its certificate or the handshake fails, or where pg_hba.conf refuses the
 * login over the first. Never once a password was asked for. The client knows of one connection only, and always asks for TLS.
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
    // `pg` ends the connection of a server that has no TLS, where libpq goes on with it in the clear.
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
    // The server asks for the password, or needs none: it is content with the way.
    if (event.startsWith('authentication')) this.#settle();
    return super.emit(event, ...args);
  }

  /** From now on nothing is looked at: an event comes for each message of the server. */
  #settle(): void {
    this.emit = super.emit;
  }
}
