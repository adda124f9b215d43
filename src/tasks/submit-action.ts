import { Injectable } from '@nestjs/common';
import type { ActionResult, ActionStatus } from '#protocol/snapshots.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import type { Queryable } from '../database/queryable.js';
import { TaskExecutor } from './ports/task-executor.js';
import { JsonText } from '../json/json-text.js';
import { currentCorrelationId } from '../observability/correlation.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { Observer } from '../observability/observer.js';
import { ActionValidationPolicy } from '../ownership/action-validation-policy.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { LiveReplicas } from '../replicas/live-replicas.js';
import { demandFittingPayload } from './action-schemas.js';
import { auditControl } from './audit-control.js';
import { demandControl } from './demand-control.js';
import { judgeAction } from './domain/judge-action.js';
import { TaskNotFound } from './domain/tasks.errors.js';
import { comparable, fingerprintOfAction, fingerprintsOfAction } from './fingerprints.js';
import { findForAction, type FoundReceipt } from './store/find-for-action.js';
import { lockTask } from './store/lock-tasks.js';
import { insertActionReceipt } from './store/receipts.js';
import { hasPutOut, settleSuspension } from './store/suspensions.js';
import type { TaskIdentity } from './domain/task-identity.js';
import type { TaskRecord } from './store/task-row.js';
import { TaskWriter } from './task-writer.js';

export interface Action {
  readonly clientActionId: string;
  readonly suspendId: string;
  readonly actionType: string;
  readonly payload?: JsonText;
  readonly metadata?: JsonText;
}

const NO_PAYLOAD = new JsonText('{}');

interface JudgedRecord extends TaskRecord {
  readonly status: ActionStatus;
  readonly acceptedAt: string;
  readonly isPutOutAgain: boolean;
}

/** Answers an open question. Acceptance, receipt, event and the return to the queue are one transaction. */
@Injectable()
export class SubmitAction {
  constructor(
    private readonly database: Database,
    private readonly writer: TaskWriter,
    private readonly executor: TaskExecutor,
    private readonly ownership: OwnershipPolicy,
    private readonly policy: ActionValidationPolicy,
    private readonly observer: Observer,
    private readonly metrics: MetricsSink,
    private readonly replicas: LiveReplicas,
  ) {}

  /** @throws TaskNotFound, RequestValidationError, what `judgeAction` throws, and what the policy throws */
  execute(auth: AuthContext, taskId: string, action: Action): Promise<ActionResult> {
    return this.observer.command('submit_action', { principalId: auth.subject, taskId }, async (note) => {
      const identity = await demandControl(this.database, this.ownership, auth, taskId);
      const { suspendId, clientActionId, actionType } = action;
      const { whole, content } = fingerprintsOfAction(action);
      // Repeats and refusals need no lock. An acceptable action is judged again under the lock.
      const early = await this.judged(this.database, taskId, { ...action, fingerprint: content });
      if (early.status !== 'ACCEPTED') {
        note({ outcome: early.status });
        this.metrics.increment('actions_total', { status: early.status });
        return { taskId, suspendId, clientActionId, status: early.status };
      }
      await this.validate(auth, action, identity, early.questionJson);
      const [written] = await this.writer.write(
        async (tx) => {
          const [record] = await lockTask(tx, taskId);
          if (!record) return [];
          const judged = await this.judged(tx, taskId, { ...action, fingerprint: content });
          const isPutOutAgain = judged.status === 'ACCEPTED' && (await this.isPutOutAgain(tx, record));
          return [{ ...record, ...judged, isPutOutAgain }];
        },
        ({ status, acceptedAt, isPutOutAgain }) =>
          status === 'ACCEPTED'
            ? { kind: 'accept_action', action: { suspendId, clientActionId, actionType, acceptedAt }, isPutOutAgain }
            : null,
        { principalId: auth.subject, correlationId: currentCorrelationId(), fromOutside: true },
        async (tx, [change]) => {
          if (change?.record.status !== 'ACCEPTED') return;
          const payload = action.payload ?? NO_PAYLOAD;
          const answer = { suspendId, clientActionId, actionType, payload, actorId: auth.subject };
          await settleSuspension(tx, taskId, suspendId, 'answered', answer);
          await insertActionReceipt(tx, {
            taskId,
            clientActionId,
            suspendId,
            fingerprint: whole,
            contentFingerprint: content,
            principalId: auth.subject,
          });
          await auditControl(tx, auth, 'submit_action', identity);
        },
      );
      if (!written) throw new TaskNotFound();
      const { status } = written.record;
      const stored = written.events.at(-1);
      note({ outcome: status, ...(stored && { eventId: String(stored.eventId) }) });
      this.metrics.increment('actions_total', { status });
      if (status === 'ACCEPTED') this.executor.resumed({ taskId, taskType: identity.taskType });
      return { taskId, suspendId, clientActionId, status };
    });
  }

  /** Outside of the transaction: a policy may be slow. A question never changes, so what is found here counts under the lock, too. */
  private async validate(auth: AuthContext, action: Action, task: TaskIdentity, questionJson: string): Promise<void> {
    await demandFittingPayload(questionJson, action);
    const { taskId, ownerId, tenantId, taskType } = task;
    await this.policy.validate(auth, action, { taskId, ownerId, tenantId, taskType }, new JsonText(questionJson));
  }

  /** Replicas of a release that does not know steps would not store it either. */
  private async isPutOutAgain(tx: Queryable, { identity, task }: TaskRecord): Promise<boolean> {
    return this.replicas.know('steps') && hasPutOut(tx, identity.taskId, task.attemptBase);
  }

  private async judged(
    db: Queryable,
    taskId: string,
    action: Action & { readonly fingerprint: string },
  ): Promise<Pick<JudgedRecord, 'status' | 'acceptedAt'> & { readonly questionJson: string }> {
    const found = await findForAction(db, taskId, action);
    if (!found) throw new TaskNotFound();
    const { task, receipt, question, questionJson } = found;
    const accepted = receipt && { fingerprint: await contentFingerprint(receipt) };
    return { status: judgeAction(task, action, accepted, question), acceptedAt: question?.now ?? '', questionJson };
  }
}

/** Undefined where release 0.1.0 wrote the receipt, and no request of today equals the answer. */
async function contentFingerprint(receipt: FoundReceipt): Promise<string | undefined> {
  if (receipt.contentFingerprint !== null) return receipt.contentFingerprint;
  const answer = await comparable(receipt.answerJson ?? '');
  if (!answer) return undefined;
  const { suspendId, actionType, payload } = JSON.parse(answer.json) as Record<string, unknown>;
  const text = await comparable(JSON.stringify(payload));
  return text && fingerprintOfAction({ suspendId: String(suspendId), actionType: String(actionType), payload: text });
}
