import type { Queryable, Statement } from '../../database/queryable.js';

/** What an operator did, without content of a task. */
export interface AuditEntry {
  readonly principalId: string;
  readonly tenantId: string;
  readonly action: string;
  /** What it was done to, where that is neither a task nor an owner. */
  readonly subject: string;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly correlationId: string;
}

const INSERT: Statement = {
  name: 'insert-audit-entry',
  text: `INSERT INTO taskbridge.entries_audit (principal_id, tenant_id, action, subject, details, correlation_id)
    VALUES ($1, $2, $3, $4, $5, $6)`,
};

/** The entry is stored in the transaction of what was done. */
export async function insertAuditEntry(tx: Queryable, entry: AuditEntry): Promise<void> {
  const { principalId, tenantId, action, subject, details, correlationId } = entry;
  await tx.query(INSERT, [
    principalId,
    tenantId,
    action,
    subject,
    details ? JSON.stringify(details) : null,
    correlationId,
  ]);
}

/** The same, done to one task. */
export interface TaskAuditEntry extends Omit<AuditEntry, 'subject'> {
  readonly taskId: string;
  readonly ownerId: string;
}

const INSERT_OF_TASK: Statement = {
  name: 'insert-task-audit-entry',
  text: `INSERT INTO taskbridge.entries_audit (principal_id, tenant_id, action, task_id, owner_id, details, correlation_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7)`,
};

/** The entry is stored in the transaction of what was done. */
export async function insertTaskAudit(tx: Queryable, entry: TaskAuditEntry): Promise<void> {
  const { principalId, tenantId, action, taskId, ownerId, details, correlationId } = entry;
  const json = details ? JSON.stringify(details) : null;
  await tx.query(INSERT_OF_TASK, [principalId, tenantId, action, taskId, ownerId, json, correlationId]);
}
