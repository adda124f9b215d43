import { Injectable } from '@nestjs/common';
import { Log } from '../observability/log.js';
import { Trouble } from '../observability/trouble.js';
import { Rounds } from '../rounds.js';
import { AttachmentStore } from './attachment-store.js';
import { DiscardUploads } from './discard-uploads.js';
import { NoAttachmentStore } from './no-attachment-store.js';

/** Files that retention removed leave the store soon after. An idle round is one query on an empty index. */
const EVERY_MS = 15_000;
/** The first round: soon, and not of all replicas at once. */
const FIRST_MS = 1_000;
/** The most files in one step. So the backlog of a store that was away for a day is cleared step by step. */
const AT_A_TIME = 20;

/**
 * Removes the remains of crashes from the attachment store. Every replica has a sweeper, and sweepers do not block each other.
 */
@Injectable()
export class UploadSweeper {
  readonly #rounds = new Rounds(
    () => this.sweep(),
    () => EVERY_MS * (0.75 + Math.random() / 2),
  );
  readonly #trouble: Trouble;

  constructor(
    private readonly discard: DiscardUploads,
    private readonly store: AttachmentStore,
    private readonly log: Log,
  ) {
    this.#trouble = new Trouble(log, 'upload_sweeper.failed', 'upload_sweeper.recovered');
  }

  start(): void {
    if (this.store instanceof NoAttachmentStore) return;
    this.#rounds.start(FIRST_MS * Math.random());
  }

  stop(): Promise<void> {
    return this.#rounds.stop();
  }

  private async sweep(): Promise<void> {
    try {
      let found: number;
      do {
        found = await this.discard.stale(AT_A_TIME);
        if (found > 0) this.log.info({ count: found }, 'upload_sweeper.removed');
      } while (found === AT_A_TIME && this.#rounds.areWanted);
      this.#trouble.worked();
    } catch (error) {
      this.#trouble.failed(error);
    }
  }
}
