import { Injectable } from '@nestjs/common';
import { MAX_STEP_RESULT_BYTES } from '#protocol/limits.js';
import type { StepReceipt } from '#protocol/snapshots.js';
import { PayloadTooLarge } from '../errors.js';
import { JsonText, type WithText } from '../json/json-text.js';
import { Observer } from '../observability/observer.js';
import { AppendEvents } from '../tasks/append-events.js';
import { stepEvent } from '../tasks/domain/event-payloads.js';
import { attemptOf } from '../tasks/domain/lease-token.js';

export interface WorkerStep {
  readonly leaseToken: string;
  /** The next batch of the lease. */
  readonly batchSeq: number;
  readonly key: string;
  readonly result: JsonText;
}

/** A step of a running attempt, wherever it runs: its result is stored in the transaction of its event, once in a task. */
@Injectable()
export class FinishWorkerStep {
  constructor(
    private readonly appendEvents: AppendEvents,
    private readonly observer: Observer,
  ) {}

  /**
   * `principalId` is absent for the worker that holds the lease.
   * @throws PayloadTooLarge; what appending events throws
   */
  execute(
    taskId: string,
    { leaseToken, batchSeq, key, result }: WorkerStep,
    principalId?: string,
  ): Promise<WithText<StepReceipt> & { readonly result: JsonText }> {
    const about = { principalId: principalId ?? 'worker', taskId, quiet: true };
    return this.observer.command('finish_step', about, async (note) => {
      if (Buffer.byteLength(result.json) > MAX_STEP_RESULT_BYTES) {
        throw new PayloadTooLarge(
          MAX_STEP_RESULT_BYTES,
          `The result of a step has at most ${MAX_STEP_RESULT_BYTES} bytes.`,
        );
      }
      const { step, leaseExpiresAt, cancellationRequested } = await this.appendEvents.finishStep({
        taskId,
        leaseToken,
        batchSeq,
        events: [stepEvent(key, attemptOf(leaseToken))],
        step: { key, resultJson: result.json },
        ...(principalId !== undefined && { principalId }),
      });
      const eventId = String(step.eventId);
      note({ eventId });
      return { eventId, result: step.result, leaseExpiresAt, cancellationRequested };
    });
  }
}
