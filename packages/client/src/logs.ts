import type { Http } from './http.js';
import type { Link } from './link.js';
import { Log } from './log.js';

/** The logs that somebody reads: one for each task, followed as long as it has readers. */
export class Logs {
  readonly #logs = new Map<string, Log>();

  constructor(
    private readonly http: Http,
    private readonly link: Pick<Link, 'follow' | 'unfollow'>,
    private readonly maxKept: number,
    private readonly onEnd: (log: Log) => void,
  ) {}

  /** The log of the task. It begins at the cursor of its first reader. Call `leave` once. */
  join(taskId: string, after: number): { readonly log: Log; leave(): void } {
    const log =
      this.#logs.get(taskId) ??
      new Log(taskId, after, this.http, this.maxKept, () => {
        drop();
        this.onEnd(log);
      });
    // A reader that comes after the end asks again: what was refused may be allowed then.
    const drop = () => {
      if (this.#logs.get(taskId) === log) this.#logs.delete(taskId);
      this.link.unfollow(log);
    };
    if (log.readers === 0) this.link.follow(log);
    log.readers += 1;
    this.#logs.set(taskId, log);
    return {
      log,
      leave: () => {
        if ((log.readers -= 1) === 0) drop();
      },
    };
  }
}
