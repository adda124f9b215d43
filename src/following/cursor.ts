import { HEAD_EVENT_ID, MAX_CURSOR_LENGTH, patternOf } from '#protocol/ids.js';
import { CursorAhead, InvalidCursor } from '../tasks/domain/tasks.errors.js';

const A_CURSOR = patternOf(HEAD_EVENT_ID);

/**
 * The last event id that a client has; 0, from the start, when it has none. Ids beyond 2^53 are not distinguished: they are
 * ahead.
 * @throws InvalidCursor
 */
export function parseCursor(text: string | null | undefined): number {
  if (text === undefined || text === null || text === '') return 0;
  if (text.length > MAX_CURSOR_LENGTH || !A_CURSOR.test(text)) throw new InvalidCursor();
  return Number(text);
}

/** Whether it says where to begin: no cursor and an empty one do not. */
export function isCursor(text: string | null | undefined): boolean {
  return (text ?? '') !== '';
}

/** The event before which a page ends. @throws InvalidCursor */
export function parseBefore(text: string): number {
  if (!A_CURSOR.test(text) || Number(text) === 0)
    throw new InvalidCursor('beforeEventId must be a decimal event id, from 1 to one more than headEventId.');
  return parseCursor(text);
}

/** A cursor is checked, never ignored: a silent start from the beginning would repeat events to the client. */
export function checkCursor(cursor: number, headEventId: number): void {
  if (cursor > headEventId) throw new CursorAhead(headEventId);
}
