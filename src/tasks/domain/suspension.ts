import type { JsonText } from '../../http/json-text.js';
import type { JsonObject } from './task-event.js';

export const SUSPENSION_KINDS = ['USER_ACTION_REQUIRED', 'EXTERNAL_CONFIRMATION_PENDING', 'SYSTEM_PAUSED'] as const;
export type SuspensionKind = (typeof SUSPENSION_KINDS)[number];

/** The payload of TASK_SUSPENDED: what is asked, and what may be answered. */
export interface Question {
  /** Unique within the task: the place in the handler that asks. */
  readonly suspendId: string;
  readonly kind: SuspensionKind;
  readonly reasonCode: string;
  /** One or more. */
  readonly allowedActions: readonly string[];
  readonly schemaVersion: number;
  /** RFC 3339; judged by the database clock. */
  readonly expiresAt?: string;
  readonly uiHints?: JsonObject | JsonText;
  readonly interaction?: JsonObject | JsonText;
}

/** The payload of TASK_ACTION_ACCEPTED. */
export interface AcceptedAction {
  readonly suspendId: string;
  readonly clientActionId: string;
  readonly actionType: string;
  readonly acceptedAt: string;
}

/** What a task's log has about the question that an action names. */
export interface AskedQuestion {
  readonly allowedActions: readonly string[];
  readonly isOpen: boolean;
  /** By the database clock, or because nobody answered and the task failed of it. */
  readonly isExpired: boolean;
  /** The database clock at the moment of judging. */
  readonly now: string;
}
