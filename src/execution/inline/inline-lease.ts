import type { Readable } from 'node:stream';
import type { HandlerEvent } from '#handler/events.js';
import { LeaseLost, Refused, Unavailable } from '#handler/holder-errors.js';
import type { Ending, FileToAttach, FinishedStep, LeaseHolder, StoredResult } from '#handler/lease-holder.js';
import type { Question } from '#handler/question.js';
import type { ErrorKind } from '#protocol/errors.js';
import type { Attachment } from '#protocol/snapshots.js';
import { SYSTEM_PRINCIPAL_ID } from '../../auth/auth-context.js';
import { Database } from '../../database/database.js';
import { JsonText } from '../../json/json-text.js';
import { TaskBridgeError } from '../../errors.js';
import { AttachFile } from '../../tasks/attach-file.js';
import type { Lease } from '../../tasks/domain/lease.js';
import { AttachmentNotFound, LeaseLost as LeaseOver, TaskAside } from '../../tasks/domain/tasks.errors.js';
import { EndAttempt, type Ending as Command } from '../../tasks/end-attempt.js';
import { findAttachment } from '../../tasks/store/attachments.js';
import { type HeldLease, renewLease } from '../../tasks/store/renew-leases.js';
import { TasksConfig } from '../../tasks/tasks.config.js';
import { AttachmentStore } from '../../uploads/attachment-store.js';
import { AppendWorkerEvents } from '../append-worker-events.js';
import { FinishWorkerStep } from '../finish-worker-step.js';

/** What a lease in this process is held with. */
export interface HeldWith {
  readonly appendEvents: AppendWorkerEvents;
  readonly finishStep: FinishWorkerStep;
  readonly attachFile: AttachFile;
  readonly endAttempt: EndAttempt;
  readonly attachments: AttachmentStore;
  readonly database: Database;
  readonly tasks: TasksConfig;
  readonly exposesErrors: boolean;
}

/** The content is at fault. */
const REFUSALS: readonly ErrorKind[] = ['invalid', 'unprocessable', 'too_large', 'forbidden', 'unsupported'];

/** The lease of an attempt that runs in this process: the use-cases of a remote worker, without HTTP. */
export class InlineLease implements LeaseHolder {
  readonly leaseMs: number;
  readonly maxEventBytes: number;
  readonly exposesErrors: boolean;
  /** By this process's own clock, from before the lease was asked for: never later than what the database thinks. */
  #endsAt: number;

  constructor(
    private readonly lease: Lease,
    private readonly uses: HeldWith,
    askedAt: number,
    /** Called when an answer says that the owner wants the task to end. */
    private readonly cancelled: () => void,
    /** Called when the handler is done, before the end of its attempt is stored. */
    private readonly done: () => void,
  ) {
    this.leaseMs = uses.tasks.leaseSeconds * 1000;
    this.maxEventBytes = uses.tasks.maxEventPayloadBytes;
    this.exposesErrors = uses.exposesErrors;
    this.#endsAt = askedAt + this.leaseMs;
  }

  get held(): HeldLease {
    return { taskId: this.lease.identity.taskId, leaseToken: this.lease.token };
  }

  /** Whether the lease was over at that time, of `performance.now()`, and neither renewed nor lost yet. */
  isOverAt(time: number): boolean {
    return time > this.#endsAt;
  }

  /** The service has accepted a sign of life that was sent at that time. */
  renewedAt(sentAt: number): void {
    this.#endsAt = Math.max(this.#endsAt, sentAt + this.leaseMs);
  }

  async append(batchSeq: number, events: readonly HandlerEvent[]): Promise<number> {
    const { taskId, leaseToken } = this.held;
    const sentAt = performance.now();
    const { cancellationRequested, eventIds } = await translated(() =>
      this.uses.appendEvents.execute(taskId, { leaseToken, batchSeq, events }, SYSTEM_PRINCIPAL_ID),
    );
    this.renewedAt(sentAt);
    if (cancellationRequested) this.cancelled();
    return Number(eventIds.at(-1));
  }

  async finishStep(batchSeq: number, { key, resultJson }: FinishedStep): Promise<StoredResult> {
    const { taskId, leaseToken } = this.held;
    const sentAt = performance.now();
    const call = { leaseToken, batchSeq, key, result: new JsonText(resultJson) };
    const { cancellationRequested, eventId, result } = await translated(() =>
      this.uses.finishStep.execute(taskId, call, SYSTEM_PRINCIPAL_ID),
    );
    this.renewedAt(sentAt);
    if (cancellationRequested) this.cancelled();
    return { eventId: Number(eventId), resultJson: result.json };
  }

  async attach(file: FileToAttach): Promise<Attachment> {
    const sentAt = performance.now();
    const {
      leaseExpiresAt: _,
      cancellationRequested,
      ...attachment
    } = await translated(() => this.uses.attachFile.execute(this.held, file, SYSTEM_PRINCIPAL_ID));
    this.renewedAt(sentAt);
    if (cancellationRequested) this.cancelled();
    return attachment;
  }

  async renew(): Promise<void> {
    const sentAt = performance.now();
    const renewed = await translated(() => renewLease(this.uses.database, this.held, this.uses.tasks.leaseSeconds));
    if (!renewed) throw new LeaseLost();
    this.renewedAt(sentAt);
  }

  suspend(question: Question): Promise<void> {
    return this.execute({ kind: 'suspend', token: this.lease.token, question });
  }

  end(ending: Ending): Promise<void> {
    const { token } = this.lease;
    switch (ending.kind) {
      case 'complete':
        return this.execute({ kind: 'complete', token, result: new JsonText(ending.resultJson) });
      case 'fail':
        return this.execute({ ...ending, token });
      case 'cancelled':
        return this.execute({ kind: 'confirm_cancellation', token });
      case 'release':
        return this.execute({ kind: 'release', token });
    }
  }

  async readAttachment(attachmentId: string): Promise<Readable> {
    const attachment = await findAttachment(this.uses.database, this.held.taskId, attachmentId);
    if (!attachment) throw new AttachmentNotFound();
    return this.uses.attachments.open(attachment.attachmentId);
  }

  private async execute(ending: Command): Promise<void> {
    this.done();
    const by = { principalId: SYSTEM_PRINCIPAL_ID };
    const end = () => translated(() => this.uses.endAttempt.execute(this.held.taskId, ending, by));
    try {
      await end();
    } catch (error) {
      // This process stood still past the end of the lease. The attempt goes on where nobody took it meanwhile.
      if (!(error instanceof LeaseLost && this.isOverAt(performance.now()))) throw error;
      await this.renew();
      await end();
    }
  }
}

/** Throws errors in the words of the runner. */
async function translated<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof LeaseOver || error instanceof TaskAside) throw new LeaseLost();
    if (!(error instanceof TaskBridgeError)) throw error;
    const { kind, code, message } = error;
    if (kind === 'unavailable') throw new Unavailable(message, 0, error);
    throw REFUSALS.includes(kind) ? new Refused(code, message, { cause: error }) : error;
  }
}
