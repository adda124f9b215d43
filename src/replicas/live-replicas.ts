import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { type Feature, FEATURE_NAMES } from '#protocol/features.js';
import type { Service } from '#protocol/snapshots.js';
import { FollowTokens } from '../auth/follow-tokens.js';
import { VERSION } from '../build.js';
import { Database } from '../database/database.js';
import { Log } from '../observability/log.js';
import { Trouble } from '../observability/trouble.js';
import { Rounds } from '../rounds.js';
import { type CommonFeatures, commonFeatures } from './common-features.js';
import { removeReplica, showAndSeeReplicas } from './replica-rows.js';

const EVERY_MS = 5_000;
/** Without news for this long, another release may have begun to serve. */
const TRUSTED_MS = 15_000;

/** Shows the others that this replica lives, and knows what all of them know. One query in 5 s, for any number of readers. */
@Injectable()
export class LiveReplicas {
  /** The types that this replica executes itself. Set before the start. */
  taskTypes: readonly string[] = [];
  readonly #id = randomUUID();
  readonly #rounds = new Rounds(
    () => this.round(),
    () => EVERY_MS,
  );
  readonly #trouble: Trouble;
  #common: CommonFeatures | undefined;
  #trustedUntil = 0;

  constructor(
    private readonly database: Database,
    private readonly followTokens: FollowTokens,
    private readonly log: Log,
  ) {
    this.#trouble = new Trouble(log, 'replicas.failed', 'replicas.recovered');
  }

  /** For clients and workers. The features are those of every live replica, at most 5 s old; none after 15 s without PostgreSQL. */
  get service(): Service {
    const isTrusted = performance.now() < this.#trustedUntil;
    return { version: VERSION, features: isTrusted ? (this.#common?.features ?? []) : [] };
  }

  /** Whether every live replica knows it. */
  know(feature: Feature): boolean {
    return this.service.features.includes(feature);
  }

  /** Resolves when the others can see this replica. */
  async start(): Promise<void> {
    await this.round();
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
    // A row that stays counts for some seconds only.
    await removeReplica(this.database, this.#id).catch(() => {});
  }

  private async round(): Promise<void> {
    try {
      const features = FEATURE_NAMES.filter((name) => name !== 'followTokens' || this.followTokens.areOn);
      const me = { build: VERSION, features, taskTypes: this.taskTypes };
      const common = commonFeatures(me, await showAndSeeReplicas(this.database, this.#id, me));
      if (JSON.stringify(common) !== JSON.stringify(this.#common)) this.log.info(common, 'features.changed');
      this.#common = common;
      this.#trustedUntil = performance.now() + TRUSTED_MS;
      this.#trouble.worked();
    } catch (error) {
      this.#trouble.failed(error);
    }
  }
}
