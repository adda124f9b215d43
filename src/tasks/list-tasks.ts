import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { isOfOthers, scopeFor, type WantedScope } from './scope-for.js';
import { InvalidCursor } from './domain/tasks.errors.js';
import { TaskPolicies } from './task-policies.js';
import { listTaskViews, type Place, type TaskFilter } from './store/read-task-page.js';
import type { TaskView } from './store/read-task-view.js';
import { withWaitingFor } from './waiting-for.js';
import { isTaskId } from './domain/task-id.js';

export interface TaskPage {
  readonly items: readonly TaskView[];
  /** Opaque; null on the last page. */
  readonly nextCursor: string | null;
}

/** The caller's own tasks, newest first, or with `tasks:admin` those that it asks for. */
@Injectable()
export class ListTasks {
  constructor(
    private readonly database: Database,
    private readonly observer: Observer,
    private readonly policies: TaskPolicies,
  ) {}

  /**
   * @throws AccessDenied for tasks of others without `tasks:admin`
   * @throws InvalidCursor when the cursor was not made here
   */
  execute(
    auth: AuthContext,
    wanted: WantedScope,
    filter: TaskFilter,
    page: { readonly limit: number; readonly cursor?: string },
  ): Promise<TaskPage> {
    return this.observer.query('list_tasks', { principalId: auth.subject }, async () => {
      const scope = scopeFor(auth, wanted);
      const after = page.cursor === undefined ? undefined : placeOf(page.cursor);
      // Reads one more than the client wants, to recognise the last page.
      const place = { limit: page.limit + 1, ...(after && { after }) };
      const found = await listTaskViews(this.database, scope, filter, place, this.policies.maxAttemptsOf);
      const views = found.views.slice(0, page.limit);
      const complete = await withWaitingFor(this.database, this.policies, views);
      const items = isOfOthers(wanted) ? complete.map((view) => ({ ...view, showsOwner: true })) : complete;
      const last = items.at(-1);
      const full = found.views.length > page.limit && last;
      const end = full ? { createdAt: full.createdAt, taskId: full.identity.taskId } : found.stoppedAt;
      return { items, nextCursor: end && cursorOf(end) };
    });
  }
}

function cursorOf({ createdAt, taskId }: Place): string {
  return Buffer.from(`${createdAt.toISOString()}|${taskId}`).toString('base64url');
}

function placeOf(cursor: string): Place {
  const [time = '', taskId = '', ...rest] = Buffer.from(cursor, 'base64url').toString().split('|');
  const createdAt = new Date(time);
  const canonical = Buffer.from(cursor, 'base64url').toString('base64url') === cursor;
  const exact = canonical && !Number.isNaN(createdAt.getTime()) && createdAt.toISOString() === time;
  if (!exact || !isTaskId(taskId) || rest.length > 0)
    throw new InvalidCursor('The cursor must be the nextCursor of an earlier page.');
  return { createdAt, taskId };
}
