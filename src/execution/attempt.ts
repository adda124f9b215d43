import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { MAX_RESULT_BYTES } from '#protocol/limits.js';
import { treeOf } from '../http/json-tree.js';
import { JsonText } from '../http/json-text.js';
import { jsonOf } from '../http/json-writer.js';
import { TaskBridgeError } from '../taskbridge-error.js';
import type { Lease } from '../tasks/claim-tasks.js';
import { messageEvent, outputEvent, progressEvent } from '../tasks/domain/event-payloads.js';
import type { Question } from '../tasks/domain/suspension.js';
import type { JsonObject, NewEvent } from '../tasks/domain/task-event.js';
import { EventTooLarge, LeaseLost, TaskAside } from '../tasks/domain/tasks.errors.js';
import type { Ending } from '../tasks/end-attempt.js';
import { EventSender } from './event-sender.js';
import {
  Suspended,
  TaskFailure,
  type SuspendAnswer,
  type SuspendRequest,
  type TaskContext,
  type TaskHandler,
} from './task-handler.js';

const RETRY_MS = 200;
/** What a failure may hold, as from a remote worker. */
const MAX_CODE_CHARACTERS = 255;
const MAX_MESSAGE_CHARACTERS = 8_192;
const LONGEST_RETRY_AFTER_MS = 24 * 60 * 60 * 1000;

/** Why the signal of a running handler aborts. */
export class AttemptStopped extends Error {
  constructor(readonly why: 'cancelled' | 'lease_lost' | 'released') {
    super(`The attempt is over: ${why}.`);
  }
}

/** What an attempt does with its lease. Each call may be repeated. */
export interface LeaseHolder {
  append(lease: Lease, batchSeq: number, events: readonly NewEvent[]): Promise<void>;
  /** A handler threw something that clients are not told. */
  report(lease: Lease, error: unknown): void;
  end(lease: Lease, ending: Ending): Promise<unknown>;
  open(attachmentId: string): Promise<Readable>;
}

/** One run of a handler under one lease, from the claim to the end of the lease. */
export class Attempt {
  readonly #stop = new AbortController();
  readonly #lost = Promise.withResolvers<void>();
  #isLost = false;
  readonly #sender: EventSender;
  #asked = 0;
  #question: Question | undefined;
  #answers: readonly SuspendAnswer[] = [];

  constructor(
    readonly lease: Lease,
    private readonly holder: LeaseHolder,
    private readonly maxEventBytes: number,
  ) {
    const append = async (batchSeq: number, events: readonly NewEvent[]) => {
      await holder.append(lease, batchSeq, events).catch((error: unknown) => {
        if (isLost(error)) this.stop('lease_lost');
        throw error;
      });
    };
    this.#sender = new EventSender(append, maxEventBytes, this.#stop.signal);
  }

  /** Tells the handler to stop; what counts is the first reason, but a lost lease outweighs all. */
  stop(why: AttemptStopped['why']): void {
    if (!this.#stop.signal.aborted) this.#stop.abort(new AttemptStopped(why));
    if (why !== 'lease_lost') return;
    this.#isLost = true;
    this.#lost.resolve();
  }

  /** Resolves when the lease is over; the handler's code may still be running when it does not obey its signal. */
  async run(handler: TaskHandler): Promise<void> {
    await Promise.race([this.runToEnd(handler), this.#lost.promise]);
  }

  /** For a handler that does not obey: hands the attempt back, while its code may still be running. */
  async abandon(): Promise<void> {
    await this.holder.end(this.lease, { kind: 'release', token: this.lease.token }).catch(() => undefined);
    this.stop('lease_lost');
  }

  private async runToEnd(handler: TaskHandler): Promise<void> {
    const ending = await this.execute(handler);
    await this.#sender.settled();
    while (!this.#isLost) {
      try {
        await this.holder.end(this.lease, ending);
        return;
      } catch (error) {
        // Somebody else decided how the attempt ends, or this very call did and its answer was lost.
        if (isLost(error)) return;
        if (!(error instanceof TaskBridgeError) || error.kind !== 'unavailable') throw error;
        await delay(RETRY_MS);
      }
    }
  }

  private async execute(handler: TaskHandler): Promise<Ending> {
    const { token } = this.lease;
    try {
      const ending = await this.handled(handler, token);
      return this.#question ? { kind: 'suspend', token, question: this.#question } : ending;
    } catch (error) {
      // Also when the handler threw another error meanwhile: the suspension ends it, and it asks again from its start.
      if (this.#question && !this.#stop.signal.aborted) return { kind: 'suspend', token, question: this.#question };
      const reason: unknown = this.#stop.signal.aborted ? this.#stop.signal.reason : undefined;
      if (reason instanceof AttemptStopped && reason.why === 'cancelled')
        return { kind: 'confirm_cancellation', token };
      if (reason instanceof AttemptStopped) return { kind: 'release', token };
      if (!(error instanceof TaskFailure)) this.holder.report(this.lease, error);
      return failureOf(error, token);
    }
  }

  private async handled(handler: TaskHandler, token: string): Promise<Ending> {
    const result: unknown = await handler(...(await this.given()));
    // JSON has no word for undefined, nor for a function.
    const json = (await jsonOf(result)) ?? 'null';
    if (Buffer.byteLength(`{"result":${json}}`) > MAX_RESULT_BYTES) {
      throw new TaskFailure('RESULT_TOO_LARGE', `A result may have at most ${MAX_RESULT_BYTES} bytes.`);
    }
    return { kind: 'complete', token, result: new JsonText(json) };
  }

  /** The answer, when the question was asked before and answered; else the end of this invocation. */
  private async ask({ key, expiresAt, ...asked }: SuspendRequest): Promise<SuspendAnswer> {
    this.#asked += 1;
    const suspendId = key ?? String(this.#asked);
    const answer = this.#answers.find((given) => given.suspendId === suspendId);
    if (answer) return answer;
    const question: Question = {
      suspendId,
      kind: 'USER_ACTION_REQUIRED',
      schemaVersion: 1,
      ...asked,
      ...(expiresAt !== undefined && { expiresAt: new Date(expiresAt).toISOString() }),
    };
    // Here, where the handler hears of it: the end of the attempt could only be refused.
    if (Buffer.byteLength(JSON.stringify(question)) > this.maxEventBytes) throw new EventTooLarge(this.maxEventBytes);
    this.#question ??= question;
    throw new Suspended();
  }

  /** What came as text, as the trees that a handler is promised. */
  private async given(): Promise<[input: JsonObject, context: TaskContext]> {
    const { input, metadata, answers } = this.lease;
    this.#answers = (await Promise.all(answers.map(treeOf))) as unknown as readonly SuspendAnswer[];
    const trees = await Promise.all([input, metadata].map(async (text) => (text ? treeOf(text) : {})));
    const [inputTree = {}, metadataTree = {}] = trees as JsonObject[];
    return [inputTree, this.context(metadataTree)];
  }

  private context(metadata: JsonObject): TaskContext {
    const { identity, attempt, attachments } = this.lease;
    const resume = this.#answers.at(-1);
    const send = (event: () => NewEvent) => unawaited(async () => this.#sender.send(event()));
    return {
      taskId: identity.taskId,
      taskType: identity.taskType,
      attempt,
      metadata,
      attachments: attachments.map((file) => ({ ...file, open: () => this.holder.open(file.attachmentId) })),
      signal: this.#stop.signal,
      ...(resume && { resume }),
      suspend: (question) => unawaited(() => this.ask(question)),
      progress: (progress, { stage, message } = {}) => send(() => progressEvent(progress, stage, message)),
      message: (message, level) => send(() => messageEvent(message, level)),
      output: (data, { channel = 'text', op = 'append' } = {}) => send(() => outputEvent(channel, op, data, attempt)),
    };
  }
}

/** A handler may leave the promise alone. A rejection that nobody handles would end the process, and all that runs in it. */
function unawaited<T>(work: () => Promise<T>): Promise<T> {
  const outcome = work();
  outcome.catch(() => undefined);
  return outcome;
}

/** An error that is no `TaskFailure` says nothing to clients: its text may hold anything. */
function failureOf(error: unknown, token: string): Ending {
  if (!(error instanceof TaskFailure)) {
    return { kind: 'fail', token, code: 'HANDLER_ERROR', message: 'The handler failed.', retryable: true };
  }
  // A subclass of the host's may have anything there.
  const { retryable, retryAfterMs } = { ...(error.options as Readonly<Record<string, unknown>> | undefined) };
  const wanted = typeof retryAfterMs === 'number' ? retryAfterMs : Number.NaN;
  const withinLimits = Math.round(Math.min(Math.max(wanted, 0), LONGEST_RETRY_AFTER_MS));
  return {
    kind: 'fail',
    token,
    code: String(error.code).slice(0, MAX_CODE_CHARACTERS),
    message: String(error.message).slice(0, MAX_MESSAGE_CHARACTERS),
    retryable: retryable === true,
    ...(!Number.isNaN(withinLimits) && { retryAfterMs: withinLimits }),
  };
}

/** Setting the task aside has also ended its lease. */
function isLost(error: unknown): boolean {
  return error instanceof LeaseLost || error instanceof TaskAside;
}
