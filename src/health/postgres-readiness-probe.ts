import { type Readiness, ReadinessProbe, readinessOf } from './readiness-probe.js';

const PING = { name: 'readiness', text: 'select 1' };

/** Through the pool, like every request: a pool that has no connection to give is not ready to serve. */
export class PostgresReadinessProbe extends ReadinessProbe {
  constructor(
    private readonly database: { query(statement: typeof PING, values: readonly unknown[]): Promise<unknown> },
  ) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    return readinessOf('postgres', () => this.database.query(PING, []));
  }
}
