/** One SQL statement: `name` makes it a prepared one, planned once per connection. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

/** What a statement is sent to: a transaction, or the pool when the statement is a transaction of its own. */
export interface Queryable {
  query<Row extends object>(statement: Statement, values: readonly unknown[]): Promise<readonly Row[]>;
}
