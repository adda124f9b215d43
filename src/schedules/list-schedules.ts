import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { InvalidCursor } from '../tasks/domain/tasks.errors.js';
import { scopeFor, type WantedScope } from '../tasks/scope-for.js';
import { nextAfter } from './clock-times.js';
import { readSchedulePage, type ScheduleKey, type StoredSchedule } from './schedule-rows.js';

/** The times of a schedule that a list shows. */
const TICKS = 5;

export interface ListedSchedule {
  readonly schedule: StoredSchedule;
  /** The next times, oldest first. */
  readonly ticks: readonly Date[];
}

/** Schedules of the caller, or with `tasks:admin` of others, by tenant, owner and name. */
@Injectable()
export class ListSchedules {
  constructor(
    private readonly database: Database,
    private readonly observer: Observer,
  ) {}

  /** @throws AccessDenied for schedules of others without `tasks:admin`, InvalidCursor when the cursor was not made here */
  execute(
    auth: AuthContext,
    wanted: WantedScope,
    { limit, cursor }: { readonly limit: number; readonly cursor?: string },
  ): Promise<{ readonly items: readonly ListedSchedule[]; readonly nextCursor: string | null }> {
    return this.observer.query('list_schedules', { principalId: auth.subject }, async () => {
      const scope = scopeFor(auth, wanted);
      const after = cursor === undefined ? undefined : keyIn(cursor);
      const rows = await readSchedulePage(this.database, scope, after, limit + 1);
      const items = rows.slice(0, limit);
      const last = rows.length > limit ? items.at(-1) : undefined;
      const listed = items.map((schedule) => ({ schedule, ticks: ticksOf(schedule) }));
      return { items: listed, nextCursor: last ? cursorOf(last) : null };
    });
  }
}

function ticksOf(schedule: StoredSchedule): readonly Date[] {
  const ticks: Date[] = [];
  for (let at = schedule.nextAt; at !== null && ticks.length < TICKS; at = nextAfter(schedule, at)) ticks.push(at);
  return ticks;
}

function cursorOf({ tenantId, ownerId, name }: ScheduleKey): string {
  return Buffer.from(JSON.stringify([tenantId, ownerId, name])).toString('base64url');
}

/** @throws InvalidCursor */
function keyIn(cursor: string): ScheduleKey {
  const refused = new InvalidCursor('The cursor must be the nextCursor of an earlier page.');
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch {
    throw refused;
  }
  const isKey = Array.isArray(parts) && parts.length === 3 && parts.every((part) => typeof part === 'string');
  if (!isKey) throw refused;
  const [tenantId = '', ownerId = '', name = ''] = parts as string[];
  const key = { tenantId, ownerId, name };
  if (cursorOf(key) !== cursor || /[\0\p{Surrogate}]/u.test(tenantId + ownerId + name)) throw refused;
  return key;
}
