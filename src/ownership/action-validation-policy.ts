import type { AuthContext } from '../auth/auth-context.js';
import type { JsonText } from '../json/json-text.js';
import type { OwnedTask } from './ownership-policy.js';

/** An answer that would be accepted. */
export interface ActionToValidate {
  readonly clientActionId: string;
  readonly suspendId: string;
  readonly actionType: string;
  /** Absent: none was sent. */
  readonly payload?: JsonText;
  readonly metadata?: JsonText;
}

/**
 * Judges an answer before it is accepted, for rules that no schema can say. It is asked outside of every transaction, and not for
 * an action that was accepted before. The question may be answered or expire meanwhile: then its answer does not count.
 */
export abstract class ActionValidationPolicy {
  /**
   * @param question the payload of TASK_SUSPENDED
   * @throws ActionInvalid, or another TaskBridgeError with the reason
   */
  abstract validate(
    auth: AuthContext,
    action: ActionToValidate,
    task: OwnedTask,
    question: JsonText,
  ): void | Promise<void>;
}

export class EveryActionIsValid extends ActionValidationPolicy {
  override validate(): void {}
}
