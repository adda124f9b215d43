import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { checkCursor, parseBefore } from './cursor.js';
import { Observer } from '../observability/observer.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { isTaskId } from '../tasks/domain/task-id.js';
import { isOver } from '../tasks/domain/task.js';
import { TaskNotFound } from '../tasks/domain/tasks.errors.js';
import { readEventsBefore } from '../tasks/store/read-events.js';
import { readTaskHead } from '../tasks/store/read-task-view.js';
import type { StoredEvent } from '../tasks/domain/stored-event.js';

/** The last events before a given one, in order. */
export interface PageBefore {
  readonly events: readonly StoredEvent[];
  /** Whether there are earlier ones. */
  readonly hasMore: boolean;
  readonly headEventId: number;
  /** Whether the terminal event is among them. */
  readonly terminal: boolean;
}

/** The events before a given one, for a client that has the newer ones. It never waits. */
@Injectable()
export class PageBackwards {
  constructor(
    private readonly database: Database,
    private readonly ownership: OwnershipPolicy,
    private readonly observer: Observer,
  ) {}

  /**
   * @throws TaskNotFound, InvalidCursor; CursorAhead when an event that is not stored lies before it
   */
  execute(auth: AuthContext, taskId: string, before: string, maxEvents: number): Promise<PageBefore> {
    return this.observer.query('page_backwards', { principalId: auth.subject, taskId }, async () => {
      const head = isTaskId(taskId) ? await readTaskHead(this.database, taskId) : undefined;
      if (!head || !(await this.ownership.mayRead(auth, head.identity))) throw new TaskNotFound();
      const { headEventId } = head;
      const beforeEventId = parseBefore(before);
      checkCursor(beforeEventId - 1, headEventId);
      const found = await readEventsBefore(this.database, taskId, beforeEventId, maxEvents + 1);
      const events = found.slice(-maxEvents);
      const isEnded = isOver(head.status) && head.asideCode === null;
      return {
        events,
        hasMore: found.length > maxEvents,
        headEventId,
        terminal: isEnded && events.at(-1)?.eventId === headEventId,
      };
    });
  }
}
