import { type AuthContext, ownerOf } from '../auth/auth-context.js';
import type { Queryable } from '../database/queryable.js';
import { currentCorrelationId } from '../observability/correlation.js';
import { owns } from '../ownership/owner-policy.js';
import type { TaskIdentity } from './domain/task-identity.js';
import { insertTaskAudit } from './store/audit.js';

/** What an operator did to a task of another principal is in the audit, in the transaction of what was done. Owners are not noted. */
export async function auditControl(
  tx: Queryable,
  auth: AuthContext,
  action: string,
  task: TaskIdentity,
): Promise<void> {
  if (owns(auth, task)) return;
  const { subject: principalId } = auth;
  const { tenantId } = ownerOf(auth);
  const { taskId, ownerId, taskType } = task;
  const details = { tenantId: task.tenantId, taskType };
  await insertTaskAudit(tx, {
    principalId,
    tenantId,
    action,
    taskId,
    ownerId,
    details,
    correlationId: currentCorrelationId(),
  });
}
