import { Injectable } from '@nestjs/common';
import { MAX_COUNTED, type TaskCounts } from '#protocol/operators.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { scopeFor, type WantedScope } from './scope-for.js';
import { type CountRow, countTasks } from './store/task-counts.js';

const MAX_TYPES = 1_000;

/** How many tasks there are, by status and by type. It reads counters, and no task that has begun. */
@Injectable()
export class CountTasks {
  constructor(
    private readonly database: Database,
    private readonly observer: Observer,
  ) {}

  /** @throws AccessDenied for tasks of others without `tasks:admin` */
  execute(auth: AuthContext, wanted: WantedScope): Promise<TaskCounts> {
    return this.observer.query('count_tasks', { principalId: auth.subject }, async () => {
      const { counts, open } = await countTasks(this.database, scopeFor(auth, wanted));
      const types = [...new Set(counts.map(({ taskType }) => taskType))].slice(0, MAX_TYPES);
      const byType = Map.groupBy(counts, ({ taskType }) => taskType);
      return {
        byStatus: byStatus(counts),
        byType: types.map((taskType) => ({ taskType, byStatus: byStatus(byType.get(taskType) ?? []) })),
        atLeast: open > MAX_COUNTED,
      };
    });
  }
}

function byStatus(counts: readonly CountRow[]): Readonly<Record<string, number>> {
  const sums: Partial<Record<string, number>> = {};
  for (const { status, n } of counts) sums[status] = (sums[status] ?? 0) + n;
  return sums as Readonly<Record<string, number>>;
}
