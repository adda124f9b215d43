import { changes } from './changes.js';
import { Feed } from './feed.js';
import type { ListFilter } from './client.js';
import type { Http } from './http.js';
import type { Link } from './link.js';
import { Questions } from './questions.js';
import type { Task } from './task.js';
import type { TaskSummary } from '../../protocol/src/snapshots.js';

/** What concerns all tasks of the caller. It is loaded when it is used first. */
export class Inbox {
  readonly feed: Feed;
  readonly questions: Questions;

  constructor(
    private readonly http: Http,
    link: Link,
    private readonly list: (filter: ListFilter) => AsyncIterable<TaskSummary>,
    task: (id: string) => Task,
  ) {
    this.feed = new Feed(http, link);
    this.questions = new Questions(this.feed, list, task);
  }

  changes(signal?: AbortSignal) {
    return changes(this.feed, () => this.list({}), this.http.closed, signal);
  }
}
