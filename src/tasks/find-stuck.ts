import { Injectable } from '@nestjs/common';
import { STUCK_KINDS, type StuckKind } from '#protocol/operators.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { scopeFor, type WantedScope } from './scope-for.js';
import { readTaskViews, type TaskView } from './store/read-task-view.js';
import { findStuck, OPEN_FOR_HOURS, type StuckRow } from './store/stuck-tasks.js';
import { TaskPolicies } from './task-policies.js';
import { TasksConfig } from './tasks.config.js';
import { withWaitingFor } from './waiting-for.js';

export interface StuckTask {
  readonly kind: StuckKind;
  readonly why: string;
  readonly since: Date;
  readonly view: TaskView;
}

/** Tasks that do not go on by themselves, or not well, each with its reason. */
@Injectable()
export class FindStuck {
  constructor(
    private readonly database: Database,
    private readonly policies: TaskPolicies,
    private readonly observer: Observer,
    private readonly config: TasksConfig,
  ) {}

  /**
   * At most `limit` of each kind, or of the one, the oldest first; and the kinds that have more.
   * @throws AccessDenied for tasks of others without `tasks:admin`
   */
  execute(
    auth: AuthContext,
    wanted: WantedScope,
    { kind, limit }: { readonly kind?: StuckKind; readonly limit: number },
  ): Promise<{ readonly items: readonly StuckTask[]; readonly hasMore: readonly StuckKind[] }> {
    return this.observer.query('find_stuck_tasks', { principalId: auth.subject }, async () => {
      const scope = scopeFor(auth, wanted);
      const hasMore: StuckKind[] = [];
      const found: (StuckRow & { readonly kind: StuckKind })[] = [];
      // One after the other: a request takes one connection.
      for (const each of kind === undefined ? STUCK_KINDS : [kind]) {
        const rows = await findStuck(this.database, each, scope, limit + 1, this.config.leaseSeconds);
        if (rows.length > limit) hasMore.push(each);
        found.push(...rows.slice(0, limit).map((row) => ({ ...row, kind: each })));
      }
      const views = await this.views(found.map(({ taskId }) => taskId));
      // A task that is gone meanwhile is not stuck.
      const items = found.flatMap((row) => {
        const view = views.get(row.taskId);
        return view ? [{ kind: row.kind, why: reasonOf(row, view), since: row.since, view }] : [];
      });
      return { items, hasMore };
    });
  }

  private async views(taskIds: readonly string[]): Promise<ReadonlyMap<string, TaskView>> {
    const { database, policies } = this;
    const views = await readTaskViews(database, [...new Set(taskIds)], policies.maxAttemptsOf);
    const complete = await withWaitingFor(database, policies, views);
    return new Map(complete.map((view) => [view.identity.taskId, { ...view, showsOwner: true }]));
  }
}

function reasonOf({ kind, detail }: StuckRow & { readonly kind: StuckKind }, view: TaskView): string {
  const { attempt, attemptsLeft, identity } = view;
  switch (kind) {
    case 'silent_lease':
      return `The worker ${detail ?? 'of the task'} has missed two signs of life.`;
    case 'retrying':
      return detail === null
        ? `Attempt ${attempt} runs, and ${attemptsLeft} may still fail.`
        : `Attempt ${attempt} failed or was lost. The next one may begin at ${detail}; ${attemptsLeft} may still fail.`;
    case 'no_worker':
      return `No worker that lives takes the type ${identity.taskType}.`;
    case 'overdue_question':
      return detail === null
        ? `The question has been open for more than ${OPEN_FOR_HOURS} hours.`
        : `The question has been open beyond its end at ${detail}.`;
    case 'aside':
      return `The task was set aside (${detail}): npm run repair.`;
  }
}
