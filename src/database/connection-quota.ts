import type { Queryable, Statement } from './queryable.js';

/** A way to PostgreSQL that uses a bounded number of its connections. Further callers wait, first come, first served. */
export class ConnectionQuota implements Queryable {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(
    private readonly database: Queryable,
    connections: number,
  ) {
    this.#free = connections;
  }

  async query<Row extends object>(statement: Statement, values: readonly unknown[]): Promise<readonly Row[]> {
    return this.holding((db) => db.query<Row>(statement, values));
  }

  /** How many callers wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** For several statements, one after the other, in one turn. */
  async holding<T>(work: (db: Queryable) => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work(this.database);
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}
