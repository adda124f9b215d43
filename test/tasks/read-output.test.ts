import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Database } from '../../src/database/database.js';
import { createPool } from '../../src/database/pool.js';
import type { Statement } from '../../src/database/queryable.js';
import { ServiceUnavailable } from '../../src/errors.js';
import { MetricsSink } from '../../src/observability/metrics-sink.js';
import { ReadOutput } from '../../src/tasks/read-output.js';
import type { TaskView } from '../../src/tasks/store/read-task-view.js';
import { TaskPolicies } from '../../src/tasks/task-policies.js';
import { createTestDatabase } from '../support/postgres.js';
import { createReplica, type Replica } from '../support/replica.js';

/** Statements wait until they are let go. */
class HeldDatabase extends Database {
  statements = 0;
  readonly #gate = Promise.withResolvers<void>();

  override async query<Row extends object>(statement: Statement, values?: readonly unknown[]): Promise<readonly Row[]> {
    this.statements += 1;
    await this.#gate.promise;
    return super.query<Row>(statement, values);
  }

  letGo(): void {
    this.#gate.resolve();
  }
}

describe('Reads of output at a time', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let replica: Replica;

  beforeAll(async () => {
    database = await createTestDatabase();
    replica = await createReplica(database.appUrl);
  });

  afterAll(async () => {
    await replica.stop();
    await database.drop();
  });

  const reading = () => {
    const held = new HeldDatabase(createPool(database.appUrl, { max: 4 }));
    return { held, read: new ReadOutput(held, replica.get(TaskPolicies), replica.get(MetricsSink)) };
  };
  const view = (taskId: string = randomUUID()) =>
    ({ identity: { taskId }, headEventId: 9, settledEventId: 1 }) as unknown as TaskView;

  it('use two connections, wait, and are refused when too many wait', async () => {
    const { held, read } = reading();
    const admitted = Array.from({ length: 66 }, () => read.execute(view()));
    expect(held.statements).toBe(2);
    await expect(read.execute(view())).rejects.toThrow(ServiceUnavailable);
    held.letGo();
    // Nothing is stored of these tasks: their text is unknown, and is said to be.
    for (const output of await Promise.all(admitted)) expect(output.within(1_000).members.outputAfterEventId).toBe('9');
    await read.execute(view());
    await held.stop();
  });

  it('are one for all who ask for the same task at the same head', async () => {
    const { held, read } = reading();
    const one = view();
    const all = Array.from({ length: 500 }, () => read.execute(one));
    held.letGo();
    const outputs = await Promise.all(all);
    expect(new Set(outputs).size).toBe(1);
    expect(held.statements).toBe(1);
    await held.stop();
  });
});
