import { EventSender } from './event-sender.js';
import { messageEvent, outputEvent, progressEvent, type WireEvent } from './events.js';
import { HalfCharacters } from './half-characters.js';
import { HeldLease, LeaseLost } from './held-lease.js';
import type { Lease } from './lease.js';
import { Refused, type Service } from './service.js';
import {
  Suspended,
  type SuspendAnswer,
  type SuspendRequest,
  type TaskAttachment,
  type TaskContext,
  TaskFailure,
  type TaskHandler,
} from './task-handler.js';
import type { WorkerProblem } from './worker-problem.js';

/** The largest result, as the JSON of the terminal event. */
const MAX_RESULT_BYTES = 1024 * 1024;
/** What a failure may hold. */
const MAX_CODE_CHARACTERS = 255;
const MAX_MESSAGE_CHARACTERS = 8_192;
const LONGEST_RETRY_AFTER_MS = 24 * 60 * 60 * 1000;

/** Why the signal of a running handler aborts. */
export class AttemptStopped extends Error {
  constructor(readonly why: 'cancelled' | 'lease_lost' | 'released') {
    super(`The attempt is over: ${why}.`);
  }
}

/** A call that gives the lease back. */
interface Ending {
  readonly call: 'complete' | 'fail' | 'suspend' | 'cancelled' | 'release';
  readonly members?: object;
}

/** One run of a handler under one lease, from the claim to the end of the lease. */
export class Attempt {
  readonly #stop = new AbortController();
  readonly #held: HeldLease;
  readonly #sender: EventSender;
  readonly #lost: Promise<void>;
  #lose: () => void = () => undefined;
  #asked = 0;
  #question: object | undefined;

  constructor(
    private readonly lease: Lease,
    private readonly service: Service,
    private readonly report: (problem: WorkerProblem) => void,
  ) {
    this.#held = new HeldLease(lease, service, {
      cancelled: () => this.stop('cancelled'),
      lost: () => this.stop('lease_lost'),
    });
    this.#sender = new EventSender((batchSeq, events) => this.#held.call('events', { batchSeq, events }));
    this.#lost = new Promise((resolve) => {
      this.#lose = resolve;
    });
  }

  /** Tells the handler to stop; what counts is the first reason, but a lost lease outweighs all. */
  stop(why: AttemptStopped['why']): void {
    if (!this.#stop.signal.aborted) this.#stop.abort(new AttemptStopped(why));
    if (why === 'lease_lost') this.#lose();
  }

  /**
   * Resolves when the lease is over; the handler's code may still be running when it does not obey its signal. `serviceTime` is of the
   * answer that brought the lease.
   */
  async run(handler: TaskHandler, serviceTime: number): Promise<void> {
    await Promise.race([this.runToEnd(handler, serviceTime), this.#lost]);
    this.#held.close();
  }

  /** Hands the task back although the handler still runs: whatever it says from now on is refused. */
  async abandon(): Promise<void> {
    await this.#held.end('release').catch(() => undefined);
    this.stop('lease_lost');
  }

  private async runToEnd(handler: TaskHandler, serviceTime: number): Promise<void> {
    const isAlive = await this.#held.start(serviceTime).then(
      () => true,
      () => false,
    );
    if (!isAlive) return;
    const ending = await this.execute(handler);
    await this.#sender.settled();
    try {
      await this.#held.end(ending.call, ending.members);
    } catch (error) {
      // Somebody else decided how the attempt ends.
      if (error instanceof LeaseLost) return;
      this.problem('call_refused', error);
      const tooLarge = error instanceof Refused && error.status === 413 && ending.call === 'complete';
      const { call, members } = failureOf(tooLarge ? resultTooLarge() : error);
      await this.#held.end(call, members).catch(() => undefined);
    }
  }

  private async execute(handler: TaskHandler): Promise<Ending> {
    const { signal } = this.#stop;
    try {
      signal.throwIfAborted();
      const result: unknown = await handler(this.lease.input, this.context());
      if (this.#question) return { call: 'suspend', members: this.#question };
      const json = JSON.stringify({ result });
      if (Buffer.byteLength(json) > MAX_RESULT_BYTES) throw resultTooLarge();
      // JSON has no word for undefined, nor for a function.
      return { call: 'complete', members: { result: json === '{}' ? null : result } };
    } catch (error) {
      // Also when the handler threw another error meanwhile: the suspension ends it, and it asks again from its start.
      if (this.#question && !signal.aborted) return { call: 'suspend', members: this.#question };
      const reason: unknown = signal.aborted ? signal.reason : undefined;
      if (reason instanceof AttemptStopped && reason.why === 'cancelled') return { call: 'cancelled' };
      if (reason instanceof AttemptStopped) return { call: 'release' };
      if (!(error instanceof TaskFailure)) this.problem('handler_failed', error);
      return failureOf(error);
    }
  }

  /** The answer, when the question was asked before and answered; else the end of this invocation. */
  private async ask({ key, expiresAt, ...asked }: SuspendRequest): Promise<SuspendAnswer> {
    this.#asked += 1;
    const suspendId = key ?? String(this.#asked);
    const answer = this.answers.find((given) => given.suspendId === suspendId);
    if (answer) return answer;
    this.#question ??= {
      suspendId,
      kind: 'USER_ACTION_REQUIRED',
      schemaVersion: 1,
      ...asked,
      ...(expiresAt !== undefined && { expiresAt: new Date(expiresAt).toISOString() }),
    };
    throw new Suspended();
  }

  private get answers(): readonly SuspendAnswer[] {
    const { answers, resume } = this.lease;
    return answers ?? (resume ? [resume] : []);
  }

  private context(): TaskContext {
    const { taskId, taskType, attempt, metadata, traceparent } = this.lease;
    const resume = this.answers.at(-1);
    const halves = new HalfCharacters();
    const { signal } = this.#stop;
    const send = (event: () => WireEvent) =>
      unawaited(async () => {
        if (signal.aborted) throw signal.reason;
        return this.#sender.send(event());
      });
    return {
      taskId,
      taskType,
      attempt,
      metadata,
      attachments: this.attachments(),
      ...(traceparent !== null && { traceparent }),
      signal,
      ...(resume && { resume }),
      suspend: (question) => unawaited(() => this.ask(question)),
      progress: (progress, { stage, message } = {}) => send(() => progressEvent(progress, stage, message)),
      message: (message, level) => send(() => messageEvent(message, level)),
      output: (data, { channel = 'text', op = 'append' } = {}) =>
        send(() => outputEvent(channel, op, typeof data === 'string' ? halves.complete(channel, op, data) : data)),
    };
  }

  private attachments(): readonly TaskAttachment[] {
    const { attachments, leaseToken } = this.lease;
    return attachments.map(({ url, ...attachment }) => ({
      ...attachment,
      open: () => this.service.download(url, leaseToken, this.#stop.signal),
    }));
  }

  private problem(kind: WorkerProblem['kind'], error: unknown): void {
    const { taskId, taskType, attempt } = this.lease;
    this.report({ kind, error, taskId, taskType, attempt });
  }
}

function resultTooLarge(): TaskFailure {
  return new TaskFailure('RESULT_TOO_LARGE', `A result may have at most ${MAX_RESULT_BYTES} bytes.`);
}

/** A handler may leave the promise alone. A rejection that nobody handles would end the process, and all that runs in it. */
function unawaited<T>(work: () => Promise<T>): Promise<T> {
  const outcome = work();
  outcome.catch(() => undefined);
  return outcome;
}

/** An error that is no `TaskFailure` says nothing to clients: its text may hold anything. */
function failureOf(error: unknown): Ending {
  if (!(error instanceof TaskFailure)) {
    return { call: 'fail', members: { code: 'HANDLER_ERROR', message: 'The handler failed.', retryable: true } };
  }
  const { retryable = false, retryAfterMs = Number.NaN } = error.options;
  const withinLimits = Math.round(Math.min(Math.max(retryAfterMs, 0), LONGEST_RETRY_AFTER_MS));
  const members = {
    code: String(error.code).slice(0, MAX_CODE_CHARACTERS),
    message: error.message.slice(0, MAX_MESSAGE_CHARACTERS),
    retryable,
    ...(!Number.isNaN(withinLimits) && { retryAfterMs: withinLimits }),
  };
  return { call: 'fail', members };
}
