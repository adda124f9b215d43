import type { Queryable, Statement } from './queryable.js';

/** A way to PostgreSQL that uses a bounded number of its connections. Further callers wait in line. */
export class Lane implements Queryable {
  #free: number;
  readonly #line: (() => void)[] = [];

  constructor(
    private readonly database: Queryable,
    width: number,
  ) {
    this.#free = width;
  }

  async query<Row extends object>(statement: Statement, values: readonly unknown[]): Promise<readonly Row[]> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#line.push(resolve));
    try {
      return await this.database.query<Row>(statement, values);
    } finally {
      const next = this.#line.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}
