import { Injectable } from '@nestjs/common';
import { MAX_COUNTED, type TaskTypeEntry } from '#protocol/operators.js';
import { patternOf, TASK_TYPE } from '#protocol/ids.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { InvalidCursor } from './domain/tasks.errors.js';
import { TaskExecutor } from './ports/task-executor.js';
import { listTypes, MOST_WAITING, type TypeOverview } from './store/type-overviews.js';

const A_TASK_TYPE = patternOf(TASK_TYPE);

/** What applies to all task types, and what they hold back, for operators. */
@Injectable()
export class ListTypes {
  constructor(
    private readonly database: Database,
    private readonly executor: TaskExecutor,
    private readonly observer: Observer,
  ) {}

  /** @throws InvalidCursor when the cursor was not made here */
  execute(
    auth: AuthContext,
    { limit, cursor }: { readonly limit: number; readonly cursor?: string },
  ): Promise<{ readonly items: readonly TaskTypeEntry[]; readonly nextCursor: string | null }> {
    return this.observer.query('list_task_types', { principalId: auth.subject }, async () => {
      const rows = await listTypes(this.database, cursor === undefined ? '' : typeIn(cursor), limit + 1);
      const items = rows.slice(0, limit).map((row) => this.entryOf(row));
      const last = rows.length > limit ? items.at(-1) : undefined;
      return { items, nextCursor: last ? Buffer.from(last.taskType).toString('base64url') : null };
    });
  }

  private entryOf(row: TypeOverview): TaskTypeEntry {
    const { taskType, policy, from, pausedAt, pausedBy, pauseReason, workers, running, waiting } = row;
    return {
      taskType,
      policy: policy ?? {},
      from: from ?? {},
      ...(pausedAt && {
        paused: {
          since: pausedAt.toISOString(),
          by: pausedBy ?? '',
          ...(pauseReason !== null && { reason: pauseReason }),
        },
      }),
      isHandledHere: this.executor.taskTypes.includes(taskType),
      ...{ workers, running },
      waiting: Math.min(waiting, MOST_WAITING),
      held: { concurrency: row.heldByConcurrency, rate: row.heldByRate },
      atLeast: waiting > MOST_WAITING || row.heldInAll > MAX_COUNTED,
    };
  }
}

/** @throws InvalidCursor */
function typeIn(cursor: string): string {
  const taskType = Buffer.from(cursor, 'base64url').toString();
  if (!A_TASK_TYPE.test(taskType) || Buffer.from(taskType).toString('base64url') !== cursor)
    throw new InvalidCursor('The cursor must be the nextCursor of an earlier page.');
  return taskType;
}
