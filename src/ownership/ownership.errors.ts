import { TaskBridgeError } from '../taskbridge-error.js';

/** The policy does not let this principal create such a task. */
export class CreationForbidden extends TaskBridgeError {
  readonly code = 'TASK_OWNERSHIP_ERROR';
  readonly kind = 'forbidden';
  constructor() {
    super('This principal may not create such a task.');
  }
}
