import { Injectable } from '@nestjs/common';
import { Log } from '../observability/log.js';
import { Trouble } from '../observability/trouble.js';
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
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
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
    this.#timer = setTimeout(() => this.round(), FIRST_MS * Math.random());
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }

  private round(): void {
    this.#running = this.sweep().then(() => {
      if (this.#timer) this.#timer = setTimeout(() => this.round(), EVERY_MS * (0.75 + Math.random() / 2));
    });
  }

  private async sweep(): Promise<void> {
    try {
      let found: number;
      do {
        found = await this.discard.stale(AT_A_TIME);
        if (found > 0) this.log.info({ count: found }, 'upload_sweeper.removed');
      } while (found === AT_A_TIME && this.#timer);
      this.#trouble.worked();
    } catch (error) {
      this.#trouble.failed(error);
    }
  }
}
