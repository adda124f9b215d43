import type { AuthContext } from './auth-context.js';
import type { AuthContextResolver } from './auth-context-resolver.js';
import type { FollowTokens } from './follow-tokens.js';
import { isUnauthenticated } from './auth.errors.js';

/** How long before its end a client should show new credentials: a minute, or half of the time that they have left when they come. */
const EXPIRING_MS = 60_000;
/** How often a host is asked whether they still count. */
const ASK_MS = 30_000;

/** What an open connection was opened with. It ends with its time, with a revocation of its token, or by the host's word. */
export class Credential {
  /** These times are of `performance.now()`, which does not jump. */
  readonly #endsAt: number;
  readonly #expiresAt: number;
  #askAt = performance.now() + ASK_MS;
  #isRefused = false;

  constructor(
    readonly auth: AuthContext,
    private readonly resolver: AuthContextResolver,
    private readonly followTokens: FollowTokens,
  ) {
    const { expiresAt } = auth;
    const leftMs = expiresAt ? expiresAt.getTime() - Date.now() : Infinity;
    this.#endsAt = performance.now() + leftMs;
    this.#expiresAt = this.#endsAt - Math.min(EXPIRING_MS, leftMs / 2);
  }

  get isOver(): boolean {
    return this.#isRefused || performance.now() >= this.#endsAt;
  }

  get isExpiring(): boolean {
    return performance.now() >= this.#expiresAt;
  }

  /** Called a few times a second. */
  look(now: number): void {
    if (this.followTokens.isRevoked(this.auth)) this.#isRefused = true;
    if (now < this.#askAt || !this.resolver.isStillValid) return;
    this.#askAt = Infinity;
    void this.ask().finally(() => (this.#askAt = performance.now() + ASK_MS));
  }

  /** A host that fails has not said no. It is asked again. */
  private async ask(): Promise<void> {
    try {
      this.#isRefused ||= (await this.resolver.isStillValid?.(this.auth)) === false;
    } catch (error) {
      this.#isRefused ||= isUnauthenticated(error);
    }
  }
}
