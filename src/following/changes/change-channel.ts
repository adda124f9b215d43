import type { Queryable } from '../../database/queryable.js';
import { type ChangePage, readChanges } from '../../tasks/store/read-changes.js';
import { type ChangeCursor, cursorText } from './change-cursor.js';
import type { MaxAttempts, TaskView } from '../../tasks/store/read-task-view.js';
import type { TaskScope } from '../../tasks/domain/task-scope.js';
import { textOf } from './snapshot.js';

/** Changes of one page. */
export const PAGE_CHANGES = 100;
/** The least time between two announcements: an owner whose tasks change all the time is read 20 times a second. */
const PAUSE_MS = 50;

/** A scope that is followed on this replica. Its followers hold cursors. Those with the same cursor share a read. */
export class ChangeChannel {
  subscribers = 0;
  readonly #followers = new Set<() => void>();
  readonly #reads = new Map<string, Promise<ChangePage>>();
  #pause: NodeJS.Timeout | undefined;
  #isDue = false;

  constructor(
    readonly scope: TaskScope,
    /** Resolves when hints of the scope arrive here, with the function that ends them. */
    readonly hints: Promise<() => void>,
    private readonly database: Queryable,
    private readonly maxAttempts: MaxAttempts,
    /** What due tasks wait for is no part of their rows. */
    private readonly complete: (db: Queryable, views: readonly TaskView[]) => Promise<readonly TaskView[]>,
    private readonly failed: () => void,
  ) {}

  follow(moved: () => void): void {
    this.#followers.add(moved);
  }

  unfollow(moved: () => void): void {
    this.#followers.delete(moved);
  }

  /** Something of the scope may have changed. The first call is passed on at once, and those of the next 50 ms together. */
  announce(): void {
    // A read under way may have begun before the change.
    this.#reads.clear();
    this.#isDue = true;
    if (this.#pause === undefined) this.pass();
  }

  /** Called when the last subscriber has left. */
  close(): void {
    clearTimeout(this.#pause);
    void this.hints.then((end) => end());
  }

  /** The page behind a cursor. */
  read(cursor: ChangeCursor, withTags: boolean): Promise<ChangePage> {
    const key = `${withTags} ${cursorText(cursor)}`;
    let reading = this.#reads.get(key);
    if (!reading) {
      const { base, target, position } = cursor;
      const place = { ...(target && { target: textOf(target) }), ...(position && { after: position }) };
      const page = { ...place, limit: PAGE_CHANGES, withTags };
      const notInBase = { open: base.open, from: base.xmax };
      reading = this.completed(readChanges(this.database, this.scope, notInBase, page, this.maxAttempts));
      this.#reads.set(key, reading);
      const over = () => this.#reads.get(key) === reading && this.#reads.delete(key);
      reading.then(over, over);
      reading.catch(this.failed);
    }
    return reading;
  }

  private async completed(reading: Promise<ChangePage>): Promise<ChangePage> {
    const page = await reading;
    const views = page.changes.flatMap(({ view }) => (view ? [view] : []));
    const complete = new Map((await this.complete(this.database, views)).map((view) => [view.identity.taskId, view]));
    const changes = page.changes.map((change) => ({ ...change, view: complete.get(change.taskId) ?? change.view }));
    return { ...page, changes };
  }

  private pass(): void {
    this.#pause = undefined;
    if (!this.#isDue) return;
    this.#isDue = false;
    this.#pause = setTimeout(() => this.pass(), PAUSE_MS);
    for (const moved of this.#followers) moved();
  }
}
