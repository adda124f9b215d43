import type { EventPayload } from '#protocol/events.js';
import type { Payload } from './task-event.js';

/** What is asked, and what may be answered. `suspendId` is unique within the task: the place in the handler that asks. */
export type Question = Payload<'TASK_SUSPENDED'>;

export type AcceptedAction = EventPayload<'TASK_ACTION_ACCEPTED'>;

/** What a task's log has about the question that an action names. */
export interface AskedQuestion {
  readonly allowedActions: readonly string[];
  /**
   * `expired`: its time was over, by the database clock, before anybody answered and before the task ended for another reason.
   * `closed`: the end of the task came first.
   */
  readonly fate: 'open' | 'answered' | 'expired' | 'closed';
  /** The database clock at the moment of judging. */
  readonly now: string;
}
