import type { ActionStatus, TaskStatus } from '#protocol/snapshots.js';
import type { AskedQuestion } from './suspension.js';
import { isOver } from './task.js';
import {
  ActionNotAllowed,
  IdempotencyConflict,
  SuspensionNotFound,
  TaskAlreadyTerminal,
  TaskAside,
} from './tasks.errors.js';

/**
 * What becomes of an action, in the contract's order: the receipt of this very action; the question and its fate, also after the
 * end of the task; the task; the choice. A repeat of the winner gets the winner's answer, never that of a loser.
 * @throws IdempotencyConflict, SuspensionNotFound, TaskAside, TaskAlreadyTerminal, ActionNotAllowed
 */
export function judgeAction(
  task: { readonly status: TaskStatus; readonly isAside: boolean },
  action: { readonly actionType: string; readonly fingerprint: string },
  receipt: { readonly fingerprint: string | undefined } | undefined,
  question: AskedQuestion | undefined,
): ActionStatus {
  if (receipt) {
    if (receipt.fingerprint !== action.fingerprint) throw new IdempotencyConflict('clientActionId');
    return 'DEDUPLICATED';
  }
  if (!question) throw new SuspensionNotFound();
  if (task.isAside) throw new TaskAside();
  if (question.fate === 'answered') return 'REJECTED_ALREADY_RESOLVED';
  if (question.fate === 'expired') return 'REJECTED_EXPIRED';
  if (question.fate === 'closed' || isOver(task.status)) throw new TaskAlreadyTerminal();
  if (!question.allowedActions.includes(action.actionType)) throw new ActionNotAllowed(question.allowedActions);
  return 'ACCEPTED';
}
