import { Injectable } from '@nestjs/common';
import { FollowTokens } from '../auth/follow-tokens.js';
import { Database } from '../database/database.js';
import { Log } from '../observability/log.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { Trouble } from '../observability/trouble.js';
import { Rounds } from '../rounds.js';
import { readRevocations } from './revocations.js';

const EVERY_MS = 500;
/** Longer than a token lives, so no token is left that the mark covers. */
const FORGET_AFTER_MS = 16 * 60_000;

/** Tells this replica which tokens were revoked, here or elsewhere. One query in half a second, for any number of tokens. */
@Injectable()
export class RevocationWatch {
  readonly #rounds = new Rounds(
    () => this.round(),
    () => EVERY_MS,
  );
  readonly #trouble: Trouble;
  /** The time of the newest mark that is known. */
  #newest = 0;

  constructor(
    private readonly followTokens: FollowTokens,
    private readonly database: Database,
    private readonly metrics: MetricsSink,
    log: Log,
  ) {
    this.#trouble = new Trouble(log, 'follow_tokens.failed', 'follow_tokens.recovered');
  }

  /** Resolves when the marks are known. Without keys there is nothing to know. */
  async start(): Promise<void> {
    if (!this.followTokens.areOn) return;
    await this.round();
    this.#rounds.start();
  }

  stop(): Promise<void> {
    return this.#rounds.stop();
  }

  private async round(): Promise<void> {
    const askedAt = performance.now();
    try {
      const { now, marks } = await readRevocations(this.database, this.#newest);
      this.followTokens.learn(marks);
      this.followTokens.trust(now, askedAt, now - FORGET_AFTER_MS);
      this.#newest = Math.max(this.#newest, ...marks.map(({ revokedAt }) => revokedAt));
      this.metrics.set('follow_tokens_refused', 0);
      this.#trouble.worked();
    } catch (error) {
      this.metrics.set('follow_tokens_refused', 1);
      this.#trouble.failed(error);
    }
  }
}
