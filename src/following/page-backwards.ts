import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { checkCursor, parseBefore } from './cursor.js';
import { Observer } from '../observability/observer.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { demandTask } from '../tasks/demand-task.js';
import { isOver } from '../tasks/domain/task.js';
import { readEventsBefore } from '../tasks/store/read-events.js';
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
      const head = await demandTask(this.database, this.ownership, 'mayRead', auth, taskId);
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
