import type { AppendableType, EventPayload, GivenPayload } from '../../protocol/src/events.js';
import { CLAIM_WAIT_MS } from '../../protocol/src/limits.js';
import type { JsonObject } from '../../protocol/src/json-schema.js';
import type { StepReceipt } from '../../protocol/src/snapshots.js';
import type { Answer } from './api-client.js';
import { Broken } from './outcomes.js';
import { shown } from './demands.js';
import type { WorkerClient } from './worker-client.js';
import type { Lease, WorkerEvent } from './wire.js';

const worker = <T extends AppendableType>(type: T, payload: GivenPayload<T>): WorkerEvent => ({ type, payload });

export const progress = (percent: number, more: Partial<GivenPayload<'TASK_PROGRESS'>> = {}) =>
  worker('TASK_PROGRESS', { progress: percent, ...more });
export const message = (text: string, more: Partial<GivenPayload<'TASK_MESSAGE'>> = {}) =>
  worker('TASK_MESSAGE', { message: text, ...more });
export const output = (data: string, op: GivenPayload<'TASK_OUTPUT'>['op'] = 'append', channel = 'text') =>
  worker('TASK_OUTPUT', { channel, op, data });

/** A question with this id that may be answered by yes and no. */
export const question = (
  suspendId: string,
  more: Partial<EventPayload<'TASK_SUSPENDED'>> = {},
): Partial<EventPayload<'TASK_SUSPENDED'>> => ({
  suspendId,
  kind: 'USER_ACTION_REQUIRED',
  reasonCode: 'CONFORMANCE',
  allowedActions: ['yes', 'no'],
  ...more,
});

/** A task that the kit itself executes as a worker: it decides when which event is stored. */
export class DrivenTask {
  #batchSeq = 0;
  #isOver = false;

  constructor(
    readonly worker: WorkerClient,
    public lease: Lease,
    private readonly patienceMs: number,
  ) {}

  get taskId(): string {
    return this.lease.taskId;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** The ids of the events, as the service gave them. */
  async append(...events: readonly WorkerEvent[]): Promise<readonly string[]> {
    this.#batchSeq += 1;
    return accepted(await this.worker.events(this.lease, this.#batchSeq, events)).eventIds;
  }

  /** The end of a step, which is a batch. */
  async finishStep(key: string, result: unknown): Promise<StepReceipt> {
    this.#batchSeq += 1;
    const body = { batchSeq: this.#batchSeq, key, result };
    return accepted(await this.worker.call<StepReceipt>(this.lease, 'steps', body));
  }

  /** The id of the terminal event. */
  async complete(result: unknown = null): Promise<string> {
    return this.end('complete', { result });
  }

  async failFinally(code = 'CONFORMANCE', text = 'It failed on purpose.'): Promise<string> {
    return this.end('fail', { code, message: text, retryable: false });
  }

  async cancelled(): Promise<string> {
    return this.end('cancelled', {});
  }

  async retry(): Promise<Answer<{ eventId: string; willRetry: boolean }>> {
    const failure = { code: 'CONFORMANCE', message: 'It failed on purpose.', retryable: true, retryAfterMs: 0 };
    const answer = await this.worker.call<{ eventId: string; willRetry: boolean }>(this.lease, 'fail', failure);
    accepted(answer);
    return answer;
  }

  async suspend(asked: JsonObject): Promise<void> {
    accepted(await this.worker.call(this.lease, 'suspend', asked));
  }

  /** Extends the lease, if it is one still. */
  async heartbeat(): Promise<void> {
    await this.worker.call(this.lease, 'heartbeat').catch(() => undefined);
  }

  async release(): Promise<void> {
    accepted(await this.worker.call(this.lease, 'release'));
  }

  /** Claims the task again, after an attempt that ended or an answer. `steps`: as a worker that knows them. */
  async resume(steps = false): Promise<Lease> {
    const waitTimeoutMs = Math.min(this.patienceMs, CLAIM_WAIT_MS.maximum);
    const { leases } = accepted(await this.worker.claim([this.lease.taskType], { waitTimeoutMs, steps }));
    const lease = leases.find(({ taskId }) => taskId === this.taskId);
    if (!lease) throw new Broken(`the task was not handed out again within ${waitTimeoutMs} ms`);
    this.lease = lease;
    this.#batchSeq = 0;
    return lease;
  }

  private async end(call: string, body: JsonObject): Promise<string> {
    const { eventId } = accepted(await this.worker.call<{ eventId: string }>(this.lease, call, body));
    this.#isOver = true;
    return eventId;
  }
}

/** The body of a 2xx. @throws Broken */
export function accepted<Body>(answer: Answer<Body>): Body {
  if (answer.status >= 300) throw new Broken(shown(answer));
  return answer.body;
}
