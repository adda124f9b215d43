import type { Http } from './http.js';
import type { Link } from './link.js';
import { Log } from './log.js';

interface Entry {
  readonly log: Log;
  readers: number;
}

/** The logs that somebody reads: one for each task, followed as long as it has readers. */
export class Logs {
  readonly #entries = new Map<string, Entry>();

  constructor(
    private readonly http: Http,
    private readonly link: Pick<Link, 'follow' | 'unfollow'>,
    private readonly maxKept: number,
    private readonly onEnd: (log: Log) => void,
  ) {}

  /** The log of the task. It begins at the cursor of its first reader. Call `leave` once. */
  join(taskId: string, after: number): { readonly log: Log; leave(): void } {
    const entry = this.#entries.get(taskId) ?? this.#begin(taskId, after);
    entry.readers += 1;
    return {
      log: entry.log,
      leave: () => {
        if ((entry.readers -= 1) > 0) return;
        if (this.#entries.get(taskId) === entry) this.#entries.delete(taskId);
        this.link.unfollow(entry.log);
      },
    };
  }

  #begin(taskId: string, after: number): Entry {
    const log: Log = new Log(taskId, after, this.http, this.maxKept, () => {
      this.link.unfollow(log);
      // A reader that comes later asks again: what was refused may be allowed then.
      this.#entries.delete(taskId);
      this.onEnd(log);
    });
    const entry = { log, readers: 0 };
    this.#entries.set(taskId, entry);
    this.link.follow(log);
    return entry;
  }
}
