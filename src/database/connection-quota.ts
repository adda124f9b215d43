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
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await this.database.query<Row>(statement, values);
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}
