import { MAX_SCANNED_TASKS } from '#protocol/operators.js';
import type { Queryable, Statement } from '../../database/queryable.js';
import { JsonText } from '../../json/json-text.js';
import type { TaskScope } from '../domain/task-scope.js';
import { jsonTextIn } from './task-row.js';
import { byScope, kindOf, valuesOf, whoseOf } from './whose.js';

/** Questions are in the order of the transactions that asked them. A row of before migration 0008 names none, and comes first. */
export const ASKED = `coalesce(t.changed_xid, '0'::xid8)`;

export interface QuestionPlace {
  readonly xid: string;
  readonly taskId: string;
}

export interface OpenQuestion extends QuestionPlace {
  readonly taskType: string;
  readonly ownerId: string;
  readonly tenantId: string;
  /** The payload of TASK_SUSPENDED. */
  readonly question: JsonText;
  readonly askedAt: Date;
}

const WHOSE = whoseOf('t');
/** PostgreSQL wants to know the type of each parameter. */
const NAMED = '($1::text IS NULL OR $2::text IS NULL OR true)';
/** The questions of an owner are found among its tasks that are not over. All others are a filter of all open questions. */
const NARROW = { owner: `t.finished_at IS NULL AND ${WHOSE.owner}`, tenant: NAMED, all: NAMED };

const WALK = (kind: keyof typeof NARROW) => `FROM taskbridge.proj_tasks t
  WHERE t.suspend_id IS NOT NULL AND ${NARROW[kind]} AND (${ASKED}, t.task_id) > ($3::xid8, $4::uuid) ORDER BY ${ASKED}, t.task_id`;

/** Indexes: proj_tasks_places of an owner, else proj_tasks_asking. The head of a task that asks is its TASK_SUSPENDED. */
const PAGE = byScope(
  (kind): Statement => ({
    name: `list-questions-of-${kind}`,
    text: `SELECT ${ASKED}::text AS xid, t.task_id, t.task_type, t.tenant_id, t.owner_id, s.question::text AS question,
        coalesce(e.created_at, t.updated_at) AS asked_at
      FROM (SELECT t.* FROM (SELECT t.*, ${ASKED} AS asked ${WALK(kind)} LIMIT ${MAX_SCANNED_TASKS}) AS t
          WHERE ${WHOSE[kind]} ORDER BY t.asked, t.task_id LIMIT $5) AS t
        JOIN taskbridge.proj_suspensions s ON s.task_id = t.task_id AND s.suspend_id = t.suspend_id
        LEFT JOIN taskbridge.events e ON e.task_id = t.task_id AND e.event_id = t.head_event_id
      ORDER BY t.asked, t.task_id`,
  }),
);
const END = byScope(
  (kind): Statement => ({
    name: `end-of-questions-of-${kind}`,
    text: `SELECT ${ASKED}::text AS xid, t.task_id AS "taskId" ${WALK(kind)} OFFSET ${MAX_SCANNED_TASKS - 1} LIMIT 1`,
  }),
);

const FIRST: QuestionPlace = { xid: '0', taskId: '00000000-0000-0000-0000-000000000000' };

/** At most `limit` open questions behind `after`, oldest first; and where the search stopped before its end. */
export async function listQuestions(
  db: Queryable,
  scope: TaskScope,
  { limit, after = FIRST }: { readonly limit: number; readonly after?: QuestionPlace },
): Promise<{ readonly questions: readonly OpenQuestion[]; readonly stoppedAt: QuestionPlace | null }> {
  const kind = kindOf(scope);
  const values = [...valuesOf(scope), after.xid, after.taskId];
  const rows = await db.query<{
    xid: string;
    task_id: string;
    task_type: string;
    tenant_id: string;
    owner_id: string;
    question: string;
    asked_at: Date;
  }>(PAGE[kind], [...values, limit]);
  const questions = rows.map((row) => ({
    xid: row.xid,
    taskId: row.task_id,
    taskType: row.task_type,
    ownerId: row.owner_id,
    tenantId: row.tenant_id,
    question: jsonTextIn(row.question) ?? new JsonText('{}'),
    askedAt: row.asked_at,
  }));
  if (rows.length === limit) return { questions, stoppedAt: null };
  const [end] = await db.query<QuestionPlace>(END[kind], values);
  return { questions, stoppedAt: end ?? null };
}
