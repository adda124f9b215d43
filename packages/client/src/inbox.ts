import type { TaskStatus, TaskSummary } from '../../protocol/src/snapshots.js';
import { changes } from './changes.js';
import { type Change, Feed } from './feed.js';
import type { Http } from './http.js';
import type { Link } from './link.js';
import { Questions } from './questions.js';
import type { Task } from './task.js';

export interface ListFilter {
  readonly status?: TaskStatus;
  readonly taskType?: string;
  readonly clientRequestId?: string;
  /** Only tasks with, or without, an open question. */
  readonly suspended?: boolean;
  /** RFC 3339. */
  readonly createdAfter?: string;
  readonly createdBefore?: string;
}

/** How often a page of the list is asked for, before the list fails. */
const LIST_TRIES = 5;

/** What concerns all tasks of the caller. It is loaded when it is used first. */
export class Inbox {
  readonly feed: Feed;
  readonly questions: Questions;

  constructor(
    private readonly http: Http,
    link: Link,
    task: (id: string) => Task,
  ) {
    this.feed = new Feed(http, link);
    this.questions = new Questions(this.feed, () => this.list({ suspended: true }, Infinity), task);
  }

  changes(signal?: AbortSignal): AsyncIterableIterator<Change> {
    return changes(this.feed, () => this.list({}, Infinity), this.http.closed, signal);
  }

  async *list(filter: ListFilter = {}, tries = LIST_TRIES): AsyncIterableIterator<TaskSummary> {
    const query = new URLSearchParams({ limit: '100' });
    for (const [name, value] of Object.entries(filter)) if (value !== undefined) query.set(name, String(value));
    for (;;) {
      const path = `/tasks?${query}`;
      const page = await this.http.json<{ items: TaskSummary[]; nextCursor: string | null }>(path, { tries });
      yield* page.items;
      if (page.nextCursor === null) return;
      query.set('cursor', page.nextCursor);
    }
  }
}
