import type { ChangedTask } from '../../protocol/src/snapshots.js';
import type { TaskBridgeError } from './errors.js';
import { asError } from './errors.js';
import type { Followed, Frame } from './followed.js';
import { framesOf } from './followed.js';
import type { Http } from './http.js';
import type { Link } from './link.js';

/** The newest state of a task of the caller, or that the task is gone. Replace what you have of it, by `taskId`. */
export type Change =
  | { readonly taskId: string; readonly task: ChangedTask; readonly removed?: undefined }
  | { readonly taskId: string; readonly removed: true; readonly task?: undefined };

/** `undefined`: changes may have been missed. Read the list again. */
type Listener = (change: Change | undefined, error?: TaskBridgeError) => void;

/** The feed of the caller's changes: one for the client, followed while somebody listens. */
export class Feed implements Followed {
  readonly key = 'changes';
  readonly head = 0;
  readonly #listeners = new Set<Listener>();
  #cursor = '';
  #isFollowed = false;

  constructor(
    private readonly http: Http,
    private readonly link: Pick<Link, 'follow' | 'unfollow'>,
  ) {}

  /** Changes from now on. First comes `undefined`, when the list is to be read. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    if (this.#isFollowed) listener(undefined);
    else if (this.#listeners.size === 1) void this.#begin();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#isFollowed = false;
      this.link.unfollow(this);
    };
  }

  receive(frame: Frame): void {
    const { task, removed } = frame as { task?: ChangedTask; removed?: true };
    const taskId = task?.taskId ?? (frame['taskId'] as string);
    this.#cursor = (frame['cursor'] ?? frame['next'] ?? this.#cursor) as string;
    if (task) this.#tell({ taskId, task });
    else if (removed) this.#tell({ taskId, removed });
  }

  /** Another tab has the feed, from another place than this one. */
  catchUp(): void {
    if (this.#isFollowed) void this.#page(this.#cursor);
  }

  finish(): void {}

  fail(error: TaskBridgeError): void {
    this.link.unfollow(this);
    this.#isFollowed = false;
    // A cursor of another day, or another database: begin anew.
    if (error.code.includes('CURSOR')) void this.#begin();
    else this.#tell(undefined, error);
  }

  subscribe = () => ({ action: 'subscribe_changes', after: this.#cursor });
  unsubscribe = () => ({ action: 'unsubscribe_changes' });
  streamPath = () => `/tasks/changes/stream?after=${encodeURIComponent(this.#cursor)}`;
  pagePath = (waitMs: number) => `/tasks/changes?after=${encodeURIComponent(this.#cursor)}&waitTimeoutMs=${waitMs}`;

  /** The cursor before the list, and the list before the feed: nothing falls between. */
  async #begin(): Promise<void> {
    this.#cursor = '';
    if (!(await this.#page('')) || this.#isFollowed || this.#listeners.size === 0) return;
    this.#isFollowed = true;
    this.#tell(undefined);
    this.link.follow(this);
  }

  async #page(cursor: string): Promise<boolean> {
    this.#cursor = cursor;
    try {
      framesOf(await this.http.json<Frame>(this.pagePath(0))).forEach((frame) => this.receive(frame));
      return true;
    } catch (error) {
      if (!this.http.closed.aborted) this.fail(asError(error));
      return false;
    }
  }

  #tell(change: Change | undefined, error?: TaskBridgeError): void {
    for (const listener of [...this.#listeners]) listener(change, error);
  }
}
