import type { Credential } from '../auth/credential.js';
import type { Transport } from '../following/transport.js';

/** Why a stream, or the connection that carries it, ended. */
export type StreamEnd =
  | 'terminal'
  | 'unsubscribed'
  | 'client_left'
  /** The client answers no pings. */
  | 'lost'
  | 'slow_consumer'
  | 'max_age'
  /** The credentials ended: by their time, by a revocation, or by the host's word. */
  | 'credentials_ended'
  | 'draining'
  | 'no_subscribe'
  /** The client broke the protocol, or lacks the right to what it asked for. */
  | 'refused'
  /** The task is gone. */
  | 'removed'
  | 'failed';

/** A client's connection, over any transport. It ends once, for one reason, and every stream on it ends with it. */
export class Connection {
  readonly #farewells = new Set<() => void>();
  #why: StreamEnd | undefined;
  #credential: Credential | undefined;
  #isExpiring = false;

  constructor(readonly transport: Transport) {}

  /** Undefined until it ends. */
  get why(): StreamEnd | undefined {
    return this.#why;
  }

  /** Calls `farewell` at the end, whatever its reason. Calls it at once when the connection has ended already. */
  atEnd(farewell: () => void): void {
    if (this.#why) farewell();
    else this.#farewells.add(farewell);
  }

  /** The `farewell` is no longer wanted. */
  forget(farewell: () => void): void {
    this.#farewells.delete(farewell);
  }

  /** It lives no longer than these credentials. Later ones replace them. */
  authorise(credential: Credential | undefined): void {
    this.#credential = credential;
    this.#isExpiring = false;
  }

  /** Ends it when its credentials have ended. Called before each delivery: nothing is read after that moment. */
  judgeCredential(): void {
    if (this.#credential?.isOver) this.end('credentials_ended');
  }

  /** Called a few times a second, and does the work that is due. `now` is `performance.now()`. */
  look(now: number): void {
    const credential = this.#credential;
    if (!credential) return;
    credential.look(now);
    this.judgeCredential();
    if (this.#isExpiring || this.#why || !credential.isExpiring) return;
    this.#isExpiring = true;
    this.credentialExpires(credential);
  }

  /** Its credentials end soon. Called once for each. */
  protected credentialExpires(_credential: Credential): void {}

  /** Only the first call counts. */
  end(why: StreamEnd): void {
    if (this.#why) return;
    this.#why = why;
    for (const farewell of this.#farewells) farewell();
    this.#farewells.clear();
    if (why !== 'client_left') this.sayGoodbye(why);
  }

  protected sayGoodbye(_why: StreamEnd): void {}
}
