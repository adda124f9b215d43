import { setTimeout as delay } from 'node:timers/promises';
import { within } from '../../deadline.js';
import { TaskBridgeError } from '../../errors.js';
import { CursorExpired } from '../../tasks/domain/tasks.errors.js';
import type { ChangedTask, ChangePage, Present } from '../../tasks/store/read-changes.js';
import type { TaskView } from '../../tasks/store/read-task-view.js';
import { type ChangeChannel, PAGE_CHANGES } from './change-channel.js';
import { type ChangeCursor, cursorText, shortEpoch } from './change-cursor.js';
import { type ChangeFilter, seenThrough } from './change-filter.js';
import { snapshotFrom } from './snapshot.js';

/** Marks of removed tasks stay for a day. A transaction that removes a task is over within an hour. */
const OLDEST_CURSOR_MS = 23 * 60 * 60 * 1_000;
/** How long a reader waits before it asks a PostgreSQL that did not answer again. */
const UNAVAILABLE_RETRY_MS = 500;

/** A change as a follower gets it. */
export type Change = { readonly cursor: string; readonly taskId: string } & (
  | {
      readonly kind: 'task';
      readonly view: TaskView /** Absent where the follower comes back to it. */;
      readonly lateSeconds?: number;
    }
  | { readonly kind: 'removed' | 'left' }
);

export interface Changes {
  readonly changes: readonly Change[];
  /** The cursor behind them. */
  readonly next: string;
  /** Whether the follower now has all that was there. */
  readonly isLast: boolean;
}

/** @throws CursorExpired when the changes behind the cursor cannot be found any more */
export function checkChangeCursor({ epoch, base }: ChangeCursor, present: Present): void {
  if (epoch !== shortEpoch(present.epoch) || present.at - base.at > OLDEST_CURSOR_MS) throw new CursorExpired();
}

/** The changes of a scope after a cursor: the newest state of each changed task, at least once. It has no queue. */
export class ChangeSubscription {
  #hasMoved = true;
  #hasAll = false;
  #isClosed = false;
  #wake = Promise.withResolvers<void>();

  constructor(
    private readonly channel: ChangeChannel,
    private cursor: ChangeCursor,
    private readonly filter: ChangeFilter,
    private readonly detach: (channel: ChangeChannel) => void,
  ) {
    channel.follow(this.#moved);
  }

  /** Whose changes, by the ids in which operators speak. */
  get scope(): { readonly ownerId?: string; readonly tenantId?: string; readonly all?: boolean } {
    const { scope } = this.channel;
    return scope.tenantId === undefined && scope.ownerId === undefined ? { all: true } : scope;
  }

  get next(): string {
    return cursorText(this.cursor);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * The next page, perhaps empty. While PostgreSQL does not answer, it waits.
   * @throws CursorExpired
   */
  async read(): Promise<Changes> {
    for (;;) {
      // Before the query: what changes meanwhile is another move.
      this.#hasMoved = false;
      try {
        return this.taken(await this.channel.read(this.cursor, this.filter.tags !== undefined));
      } catch (error) {
        if (!(error instanceof TaskBridgeError) || error.kind !== 'unavailable') throw error;
        await delay(UNAVAILABLE_RETRY_MS);
        if (this.#isClosed) return { changes: [], next: this.next, isLast: false };
      }
    }
  }

  /** Resolves when there may be more, after `timeoutMs`, or on `close()`. Whether there may be more. */
  async moved(timeoutMs = Number.POSITIVE_INFINITY): Promise<boolean> {
    if (!this.#hasMoved && !this.#isClosed) {
      const woken = this.#wake.promise;
      await (Number.isFinite(timeoutMs) ? within(timeoutMs, woken) : woken);
    }
    return this.#hasMoved && !this.#isClosed;
  }

  /** May be called more than once. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.channel.unfollow(this.#moved);
    this.detach(this.channel);
    this.#wake.resolve();
  }

  readonly #moved = (): void => {
    this.#hasMoved = true;
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  };

  private taken(page: ChangePage): Changes {
    const { cursor } = this;
    checkChangeCursor(cursor, page);
    const { epoch, base, target = snapshotFrom(page.snapshot, page.at) } = cursor;
    const at = ({ xid, taskId }: ChangedTask): ChangeCursor => ({ epoch, base, target, position: { xid, taskId } });
    const last = page.changes.at(-1);
    const isRoundOver = last === undefined || page.changes.length < PAGE_CHANGES;
    this.cursor = isRoundOver ? { epoch, base: target } : at(last);
    // Behind an earlier target there may be more already, and no hint of it will come.
    const isLast = isRoundOver && cursor.target === undefined;
    const isLive = this.#hasAll;
    this.#hasAll ||= isLast;
    const lateness = ({ updatedAt }: TaskView) =>
      isLive ? { lateSeconds: Math.max(0, page.at - updatedAt.getTime()) / 1_000 } : {};
    const changes = page.changes.flatMap((change): Change[] => {
      const seen = seenThrough(this.filter, change);
      if (seen === undefined) return [];
      const place = { cursor: cursorText(at(change)), taskId: change.taskId };
      if (seen === 'task' && change.view) {
        return [{ ...place, kind: 'task', view: change.view, ...lateness(change.view) }];
      }
      return [{ ...place, kind: seen === 'left' ? 'left' : 'removed' }];
    });
    return { changes, next: this.next, isLast };
  }
}
