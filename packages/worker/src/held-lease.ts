import type { Readable } from 'node:stream';
import { marked, storedJson } from '../../protocol/src/exact-json.js';
import type { AttachReceipt, Attachment, StepReceipt, WorkerReceipt } from '../../protocol/src/snapshots.js';
import type { HandlerEvent } from '../../handler/src/events.js';
import { LeaseLost, Refused, Unavailable } from '../../handler/src/holder-errors.js';
import type { Ending, FileToAttach, FinishedStep, LeaseHolder, StoredResult } from '../../handler/src/lease-holder.js';
import type { Question } from '../../handler/src/question.js';
import { unlessUnknown } from './feature-call.js';
import type { Beating, Heartbeats } from './heartbeats.js';
import type { Lease, SignOfLease } from './lease.js';
import { type Answer, type Service, ServiceRefused } from './service.js';

/** How long one call may take; within a short lease less, so that it can be repeated before the end. */
const CALL_TIMEOUT_MS = 10_000;
/** How long a lease that is over by this process's own clock may still be renewed, in leases: the service may have stood still. */
const PATIENCE = 2;

/** Codes of refusals that say: the lease is over. `TASK_ASIDE`: the task waits for an operator of the service. */
const OVER: ReadonlySet<string> = new Set(['LEASE_LOST', 'TASK_ASIDE']);
/** The service names something in the call that it does not take. */
const ABOUT_CONTENT: ReadonlySet<number> = new Set([400, 403, 413, 415, 422]);

/** The result keeps all digits of its numbers. */
function storedResultIn(json: string): StoredResult & SignOfLease {
  const { eventId, result, ...sign } = JSON.parse(marked(json)) as StepReceipt;
  return { ...sign, eventId: Number(eventId), resultJson: storedJson(result) };
}

interface CallOptions<Body> {
  readonly more?: string;
  /** Parses the answer. */
  readonly read?: (json: string) => Body & SignOfLease;
  /** A release that does not know steps refuses it. */
  readonly isOfSteps?: boolean;
}

/** What a lease asks for while it is held. */
export interface LeaseListener {
  /** The owner wants the task to end. */
  cancelled(): void;
  /** A heartbeat is due. Rejects when there is no use in another one. */
  beat(): Promise<void>;
}

/**
 * A lease that is held over HTTP. Every accepted call extends it; when there is none for a third of its length, a heartbeat does.
 * Without answers it is over at last by this process's own monotonic clock: a worker that hears nothing any more must not believe that
 * it still holds the task.
 */
export class HeldLease implements LeaseHolder, Beating {
  leaseMs = 0;
  /** In milliseconds of `performance.now()`; never earlier than what the service thinks. */
  #endsAt = 0;
  #over = false;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(
    readonly lease: Lease,
    private readonly service: Service,
    private readonly heartbeats: Heartbeats,
    private readonly listener: LeaseListener,
  ) {}

  /**
   * `serviceTime` comes from the answer that brought the lease. One that seems old, measured by the lease, may have waited in the
   * socket of a process that was stopped: then a renewal says whether it is alive. A clock that is off costs a call.
   * @returns whether the lease is fresh
   */
  begin(serviceTime: number): boolean {
    this.heartbeats.add(this);
    this.heard({ body: this.lease, serviceTime });
    return Math.abs(Date.now() - serviceTime) <= this.leaseMs / 2;
  }

  async append(batchSeq: number, events: readonly HandlerEvent[]): Promise<number> {
    const isOfSteps = events.some(({ type }) => type === 'TASK_STEP');
    const { eventIds = [] } = await this.call<Partial<WorkerReceipt>>('events', { batchSeq, events }, { isOfSteps });
    return Number(eventIds.at(-1));
  }

  async finishStep(batchSeq: number, { key, resultJson }: FinishedStep): Promise<StoredResult> {
    const more = `,"result":${resultJson}`;
    return this.call('steps', { batchSeq, key }, { more, read: storedResultIn, isOfSteps: true });
  }

  /** @throws Error where the service does not take files of workers yet: another attempt may find that it does */
  async attach(file: FileToAttach): Promise<Attachment> {
    if (this.#over) throw new LeaseLost();
    try {
      if (!(await this.service.knows('workerFiles'))) throw new Error('The service does not take files of workers.');
      const answer = await this.service.upload<AttachReceipt>(this.lease, file);
      this.heard(answer);
      const { leaseExpiresAt: _, cancellationRequested: __, ...attachment } = answer.body;
      return attachment;
    } catch (error) {
      const isUnknown = error instanceof ServiceRefused && error.status === 404;
      throw this.translated(isUnknown ? new Unavailable(error.message, 0, error) : error);
    }
  }

  async renew(): Promise<void> {
    try {
      const isExtended = await this.extended();
      if (isExtended === undefined) await this.call('heartbeat');
      else if (!isExtended) throw new LeaseLost();
    } catch (error) {
      if (error instanceof LeaseLost) this.close();
      throw error;
    }
  }

  suspend(question: Question): Promise<void> {
    return this.giveBack('suspend', question);
  }

  end({ kind, ...members }: Ending): Promise<void> {
    if (!('resultJson' in members)) return this.giveBack(kind, members);
    // As it was written and checked, and not once more.
    return this.giveBack(kind, {}, `,"result":${members.resultJson}`);
  }

  async readAttachment(attachmentId: string, signal: AbortSignal): Promise<Readable> {
    const { attachments, leaseToken } = this.lease;
    const file = attachments.find((attachment) => attachment.attachmentId === attachmentId);
    return this.service.download(file?.url ?? '', leaseToken, signal);
  }

  /** No calls, no heartbeats. */
  close(): void {
    this.#over = true;
    clearTimeout(this.#heartbeat);
    this.heartbeats.remove(this);
  }

  get timeoutMs(): number {
    return Math.min(CALL_TIMEOUT_MS, Math.max(1_000, this.leaseMs / 3));
  }

  heard({ body, serviceTime }: Answer<SignOfLease>): void {
    if (this.#over) return;
    if (body.cancellationRequested) this.listener.cancelled();
    if (body.leaseExpiresAt === undefined) return;
    this.leaseMs = Date.parse(body.leaseExpiresAt) - serviceTime;
    this.#endsAt = performance.now() + this.leaseMs;
    this.beatLater();
  }

  /** Together with the other leases of the worker; undefined where the service knows no such call. */
  private async extended(): Promise<boolean | undefined> {
    if (this.#over) throw new LeaseLost();
    try {
      return await this.heartbeats.beat(this);
    } catch (error) {
      throw this.translated(error);
    }
  }

  private async giveBack(name: string, members: object, more = ''): Promise<void> {
    // Behind this call a heartbeat would only learn that the lease is over.
    clearTimeout(this.#heartbeat);
    await this.call(name, members, { more });
    this.close();
  }

  /** `more` is JSON, from the comma on. */
  private async call<Body extends object>(
    name: string,
    members: object = {},
    { more = '', read, isOfSteps = false }: CallOptions<Body> = {},
  ): Promise<Body> {
    if (this.#over) throw new LeaseLost();
    const { taskId, leaseToken } = this.lease;
    const json = `${storedJson({ leaseToken, ...members }).slice(0, -1)}${more}}`;
    const post = () => this.service.post<Body & SignOfLease>(`tasks/${taskId}/${name}`, json, this.timeoutMs, read);
    try {
      const answer = await (isOfSteps ? unlessUnknown(this.service, post) : post());
      this.heard(answer);
      return answer.body;
    } catch (error) {
      throw this.translated(error);
    }
  }

  /** The error in the words of the runner. */
  private translated(error: unknown): unknown {
    if (error instanceof ServiceRefused) {
      if (OVER.has(error.code)) return new LeaseLost();
      return ABOUT_CONTENT.has(error.status) ? new Refused(error.code, error.text, { cause: error }) : error;
    }
    if (!(error instanceof Unavailable)) return error;
    const leftMs = this.#endsAt + PATIENCE * this.leaseMs - performance.now();
    if (leftMs > 0) return new Unavailable(error.message, Math.min(error.retryAfterMs, leftMs), error);
    this.close();
    return new LeaseLost();
  }

  private beatLater(): void {
    clearTimeout(this.#heartbeat);
    if (!this.#over) this.#heartbeat = setTimeout(() => void this.beat(), this.leaseMs / 3);
  }

  private async beat(): Promise<void> {
    // Refused for another reason than a lost lease, the next one may not be.
    await this.listener.beat().catch(() => this.beatLater());
  }
}
