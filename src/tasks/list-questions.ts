import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { scopeFor, type WantedScope } from './scope-for.js';
import { isTaskId } from './domain/task-id.js';
import { InvalidCursor } from './domain/tasks.errors.js';
import { listQuestions, type OpenQuestion, type QuestionPlace } from './store/open-questions.js';

export interface QuestionPage {
  readonly items: readonly OpenQuestion[];
  /** Opaque; null on the last page. */
  readonly nextCursor: string | null;
}

const AN_XID = /^\d{1,19}$/;

/** The questions that nobody has answered yet, oldest first. */
@Injectable()
export class ListQuestions {
  constructor(
    private readonly database: Database,
    private readonly observer: Observer,
  ) {}

  /** @throws AccessDenied for tasks of others without `tasks:admin`, InvalidCursor when the cursor was not made here */
  execute(
    auth: AuthContext,
    wanted: WantedScope,
    { limit, cursor }: { readonly limit: number; readonly cursor?: string },
  ): Promise<QuestionPage> {
    return this.observer.query('list_questions', { principalId: auth.subject }, async () => {
      const scope = scopeFor(auth, wanted);
      const after = cursor === undefined ? undefined : placeOf(cursor);
      const found = await listQuestions(this.database, scope, { limit: limit + 1, ...(after && { after }) });
      const items = found.questions.slice(0, limit);
      const end = found.questions.length > limit ? (items.at(-1) ?? null) : found.stoppedAt;
      return { items, nextCursor: end && cursorOf(end) };
    });
  }
}

function cursorOf({ xid, taskId }: QuestionPlace): string {
  return Buffer.from(`${xid}|${taskId}`).toString('base64url');
}

function placeOf(cursor: string): QuestionPlace {
  const [xid = '', taskId = '', ...rest] = Buffer.from(cursor, 'base64url').toString().split('|');
  const isOurs = AN_XID.test(xid) && isTaskId(taskId) && rest.length === 0 && cursorOf({ xid, taskId }) === cursor;
  if (!isOurs) throw new InvalidCursor('The cursor must be the nextCursor of an earlier page.');
  return { xid, taskId };
}
