/** One SQL statement: `name` makes it a prepared one, planned once per connection. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

/** Runs statements: a transaction, or the pool, where each statement is its own transaction. */
export interface Queryable {
  query<Row extends object>(statement: Statement, values: readonly unknown[]): Promise<readonly Row[]>;
}
