import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { Queryable } from '../database/queryable.js';
import { type CanonicalPart, canonicalJson } from '../json/canonical-json.js';
import { Observer } from '../observability/observer.js';
import type { Command } from './domain/decide.js';
import { isOver } from './domain/task.js';
import { LeaseLost } from './domain/tasks.errors.js';
import { lockTask } from './store/lock-tasks.js';
import { findLeaseEnding, insertLeaseEnding } from './store/receipts.js';
import type { TaskRecord } from './store/task-row.js';
import { TaskWriter } from './task-writer.js';

/** The ways in which the holder of a lease gives it back. */
export type Ending = Extract<Command, { kind: 'complete' | 'fail' | 'suspend' | 'confirm_cancellation' | 'release' }>;

export interface Ended {
  /** The event that the call stored. */
  readonly eventId: string;
  readonly willRetry: boolean;
}

interface EndingRecord extends TaskRecord {
  /** The answer of the same call before. */
  readonly earlier?: Ended;
}

/** Stores the event that ends an attempt, and the end of its lease, in one transaction. */
@Injectable()
export class EndAttempt {
  constructor(
    private readonly writer: TaskWriter,
    private readonly observer: Observer,
  ) {}

  /**
   * `remembered`: a repeated call gets the first answer again, for callers that lost it.
   * @throws LeaseLost when the lease was over before
   */
  execute(
    taskId: string,
    ending: Ending,
    { principalId, remembered = false }: { readonly principalId?: string; readonly remembered?: boolean },
  ): Promise<Ended> {
    const about = { principalId: principalId ?? 'worker', taskId };
    return this.observer.command(`${ending.kind}_attempt`, about, async (note) => {
      const fingerprint = remembered ? fingerprintOf(ending) : '';
      const [written] = await this.writer.write<EndingRecord>(
        (tx) => (remembered ? recalled(tx, taskId, ending.token, fingerprint) : lockTask(tx, taskId)),
        (record) => (record.earlier ? null : ending),
        principalId === undefined ? {} : { principalId },
        async (tx, [change]) => {
          if (!remembered || !change || change.record.earlier) return;
          await insertLeaseEnding(tx, taskId, ending.token, { fingerprint, answer: answerOf(change) });
        },
      );
      if (!written) throw new LeaseLost();
      if (written.record.earlier) return written.record.earlier;
      const answer = answerOf(written);
      note({ outcome: written.after.status, eventId: answer.eventId });
      return answer;
    });
  }
}

async function recalled(
  tx: Queryable,
  taskId: string,
  token: string,
  fingerprint: string,
): Promise<readonly EndingRecord[]> {
  const records = await lockTask(tx, taskId);
  // The call is stored with the end of its lease, so while the lease is held there is nothing to find.
  const isHeld = records.some(({ task: { run } }) => run.state === 'leased' && run.token === token);
  const ending = isHeld ? undefined : await findLeaseEnding<Ended>(tx, taskId, token);
  if (ending && ending.fingerprint !== fingerprint) throw new LeaseLost();
  return records.map((record) => ({ ...record, ...(ending && { earlier: ending.answer }) }));
}

function answerOf({ after }: { readonly after: TaskRecord['task'] }): Ended {
  return { eventId: String(after.headEventId), willRetry: after.run.state === 'queued' && !isOver(after.status) };
}

/** The fingerprint of the call's JSON, for any order of its members. */
function fingerprintOf(ending: Ending): string {
  return createHash('sha256')
    .update(canonicalJson(ending as unknown as CanonicalPart))
    .digest('hex');
}
