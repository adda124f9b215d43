import { Injectable } from '@nestjs/common';
import { type AuthContext, ownerOf } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { InvalidCursor } from './domain/tasks.errors.js';
import { TaskPolicies } from './task-policies.js';
import { listTaskViews, type TaskFilter } from './store/read-task-page.js';
import type { TaskView } from './store/read-task-view.js';
import { withWaitingFor } from './waiting-for.js';
import { isTaskId } from './domain/task-id.js';

export interface TaskPage {
  readonly items: readonly TaskView[];
  /** Opaque; null on the last page. */
  readonly nextCursor: string | null;
}

/** The caller's own tasks, newest first. Never tasks of others, even when the policy lets the caller read them. */
@Injectable()
export class ListTasks {
  constructor(
    private readonly database: Database,
    private readonly observer: Observer,
    private readonly policies: TaskPolicies,
  ) {}

  /** @throws InvalidCursor when the cursor was not made here */
  execute(
    auth: AuthContext,
    filter: Omit<TaskFilter, 'tenantId' | 'ownerId' | 'after'>,
    page: { readonly limit: number; readonly cursor?: string },
  ): Promise<TaskPage> {
    return this.observer.query('list_tasks', { principalId: auth.subject }, async () => {
      const after = page.cursor === undefined ? undefined : placeOf(page.cursor);
      const own = { ...filter, ...ownerOf(auth), ...(after && { after }) };
      // Reads one more than the client wants, to recognise the last page.
      const views = await listTaskViews(this.database, own, page.limit + 1, this.policies.maxAttemptsOf);
      const items = await withWaitingFor(this.database, this.policies, views.slice(0, page.limit));
      const last = items.at(-1);
      return { items, nextCursor: last && views.length > page.limit ? cursorOf(last) : null };
    });
  }
}

function cursorOf(view: TaskView): string {
  return Buffer.from(`${view.createdAt.toISOString()}|${view.identity.taskId}`).toString('base64url');
}

function placeOf(cursor: string): NonNullable<TaskFilter['after']> {
  const [time = '', taskId = '', ...rest] = Buffer.from(cursor, 'base64url').toString().split('|');
  const createdAt = new Date(time);
  const canonical = Buffer.from(cursor, 'base64url').toString('base64url') === cursor;
  const exact = canonical && !Number.isNaN(createdAt.getTime()) && createdAt.toISOString() === time;
  if (!exact || !isTaskId(taskId) || rest.length > 0)
    throw new InvalidCursor('The cursor must be the nextCursor of an earlier page.');
  return { createdAt, taskId };
}
