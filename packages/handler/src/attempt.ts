import { MAX_EVENT_BYTES } from '#protocol/limits.js';
import {
  eventInvalid,
  eventTooLarge,
  type HandlerEvent,
  messageEvent,
  outputEvent,
  progressEvent,
  type SizedEvent,
} from './events.js';
import { EventSender } from './event-sender.js';
import { checkFile, refused, withContent } from './file-content.js';
import { failureOf, resultRefused } from './failures.js';
import { HalfCharacters } from './half-characters.js';
import { LeaseCalls } from './lease-calls.js';
import { LeaseLost, Refused, type TryOver } from './holder-errors.js';
import type { Ending, FinishedStep, LeaseHolder } from './lease-holder.js';
import { MAX_RESULT_JSON_BYTES } from './limits.js';
import { Outcomes } from './outcomes.js';
import { type Question, questionOf } from './question.js';
import { Steps } from './steps.js';
import { storableJson } from './storable-json.js';
import { tangible } from './tangible.js';
import {
  type Attachment,
  AttemptStopped,
  type FileBytes,
  type JsonObject,
  type StepOptions,
  type StepRun,
  type SuspendAnswer,
  Suspended,
  type SuspendRequest,
  type TaskAttachment,
  type TaskContext,
  TaskFailure,
  type TaskHandler,
} from './task-handler.js';

/** What of a lease the handler is given. */
export interface LeasedTask {
  readonly taskId: string;
  readonly taskType: string;
  readonly attempt: number;
  readonly input: JsonObject;
  readonly metadata: JsonObject;
  readonly attachments: readonly Omit<TaskAttachment, 'open'>[];
  readonly traceparent?: string | null;
  /** All answers so far, oldest first. */
  readonly answers: readonly SuspendAnswer[];
  /** The last event of the task. */
  readonly headEventId: number;
  /** The finished steps, oldest first. Absent where the service stores none. */
  readonly steps?: readonly FinishedStep[];
  readonly texts: LeasedTexts;
}

/** The same JSON as text, with all digits of its numbers. Made when a handler asks for it. */
export interface LeasedTexts {
  input(): string;
  metadata(): string;
  /** The payload of the answer with this index. */
  payload(index: number): string;
}

/** `handler_failed`: it threw an error that clients do not see. `call_refused`: what it wanted stored cannot be. */
export type Report = (kind: 'handler_failed' | 'call_refused', error: unknown) => void;

type Ended = Ending | { readonly kind: 'suspend'; readonly question: Question };

/** One run of a handler under one lease, from the claim to the end of the lease. */
export class Attempt {
  readonly #stop = new AbortController();
  readonly #lost = new AbortController();
  readonly #outcomes = new Outcomes();
  readonly #halves = new HalfCharacters();
  readonly #calls: LeaseCalls;
  /** The files of earlier runs of the handler, and of this one, by name. */
  readonly #attached = new Map<string, Attachment>();
  readonly #attaching = new Set<Promise<unknown>>();
  #isDone = false;
  #isLate = false;
  #asked = 0;
  readonly #questions = new Set<string>();
  #question: Question | undefined;

  constructor(
    private readonly holder: LeaseHolder,
    private readonly report: Report,
  ) {
    this.#calls = new LeaseCalls(holder, this.#lost.signal);
  }

  /** Has the handler stop. The first reason counts, but a lost lease outweighs all. */
  stop(why: AttemptStopped['why']): void {
    if (!this.#stop.signal.aborted) this.#stop.abort(new AttemptStopped(why));
    if (why === 'lease_lost') this.#lost.abort();
  }

  /** A sign of life, repeated until it is answered. @throws LeaseLost, and what the holder throws besides */
  renew(): Promise<void> {
    return this.watched(this.#calls.renew());
  }

  /** Resolves when the lease is over; the handler's code may still be running when it does not obey its signal. */
  async run(handler: TaskHandler, task: LeasedTask): Promise<void> {
    const lost = new Promise<void>((resolve) => {
      if (this.#lost.signal.aborted) resolve();
      this.#lost.signal.addEventListener('abort', () => resolve());
    });
    await Promise.race([this.runToEnd(handler, task), lost]);
  }

  /** Hands the task back although the handler still runs: nothing that it says from now on is stored. */
  async abandon(): Promise<void> {
    await this.call(() => this.holder.end({ kind: 'release' })).catch(() => undefined);
    this.stop('lease_lost');
  }

  private async runToEnd(handler: TaskHandler, task: LeasedTask): Promise<void> {
    const ended = await this.execute(handler, task);
    try {
      await this.end(ended);
    } catch (error) {
      // Another call has ended the lease, or this very one did and its answer was lost.
      if (error instanceof LeaseLost) return;
      this.report('call_refused', error);
      const failure = ended.kind === 'complete' ? resultRefused(error) : failureOf(error);
      await this.end({ kind: 'fail', ...failure }).catch((again: unknown) => {
        if (!(again instanceof LeaseLost)) this.report('call_refused', again);
      });
    }
  }

  private end(ended: Ended): Promise<void> {
    return this.call(() => (ended.kind === 'suspend' ? this.holder.suspend(ended.question) : this.holder.end(ended)));
  }

  private call<T>(call: () => Promise<T>): Promise<T> {
    return this.watched(this.#calls.make(call));
  }

  private async watched<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof LeaseLost) this.stop('lease_lost');
      throw error;
    }
  }

  private async execute(handler: TaskHandler, task: LeasedTask): Promise<Ended> {
    const { holder } = this;
    const append = (batchSeq: number, events: readonly HandlerEvent[]) =>
      this.call(() => holder.append(batchSeq, events));
    const sender = new EventSender(append, task.headEventId);
    const steps = new Steps({
      taskId: task.taskId,
      attempt: task.attempt,
      stored: task.steps,
      signal: this.#stop.signal,
      sender,
      halves: this.#halves,
      finish: (batchSeq, step) => this.call(() => holder.finishStep(batchSeq, step)),
      send: (event) => this.send(event, sender),
      fail: (error) => this.#outcomes.fail(error),
      report: (error) => this.report('call_refused', error),
    });
    const context = this.context(task, sender, steps);
    const outcome = await this.outcomeOf(() => steps.outside(() => handler(task.input, context)));
    await steps.settled();
    steps.release();
    while (this.#attaching.size > 0) await Promise.allSettled(this.#attaching);
    await sender.settled();
    this.#isDone = true;
    if (this.#halves.isWaiting) this.#outcomes.fail(eventInvalid('data', 'ends within a character'));
    const { unheard } = this.#outcomes;
    if ('result' in outcome && unheard.length === 0 && !this.#question) return this.completed(outcome.result);
    const { aborted, reason } = this.#stop.signal as { aborted: boolean; reason: unknown };
    if (aborted && reason instanceof AttemptStopped) {
      return { kind: reason.why === 'cancelled' ? 'cancelled' : 'release' };
    }
    return this.notCompleted('error' in outcome ? outcome.error : undefined, unheard);
  }

  private async outcomeOf(handler: () => unknown): Promise<{ readonly result: unknown } | { readonly error: unknown }> {
    try {
      this.#stop.signal.throwIfAborted();
      return { result: await handler() };
    } catch (error) {
      return { error: tangible(error) };
    }
  }

  /** `unheard`: what was refused while the handler did not listen. It outweighs all but words of its own. */
  private notCompleted(error: unknown, unheard: readonly unknown[]): Ended {
    const [refused] = unheard;
    if (unheard.length > 0) this.report('call_refused', unheard.length === 1 ? refused : manyRefused(unheard));
    // Also when the handler let another error out meanwhile: `suspend` ends it, and it asks again from its start.
    if (this.#question && unheard.length === 0) return { kind: 'suspend', question: this.#question };
    if (error instanceof TaskFailure) return { kind: 'fail', ...failureOf(error) };
    const isOwn = error !== undefined && !(error instanceof Suspended);
    if (unheard.length === 0 || isOwn) this.report(error instanceof Refused ? 'call_refused' : 'handler_failed', error);
    return { kind: 'fail', ...failureOf(unheard.length > 0 ? refused : error, this.holder.exposesErrors) };
  }

  private async completed(result: unknown): Promise<Ended> {
    try {
      const resultJson = await storableJson(result, MAX_RESULT_JSON_BYTES);
      // JSON has no word for undefined, nor for a function.
      return { kind: 'complete', resultJson: resultJson ?? 'null' };
    } catch (error) {
      this.report('call_refused', error);
      return { kind: 'fail', ...resultRefused(error) };
    }
  }

  /** The answer, when the question was asked before and answered; else the end of this invocation. */
  private async ask(request: SuspendRequest, answers: readonly SuspendAnswer[]): Promise<SuspendAnswer> {
    this.#asked += 1;
    const question = questionOf(request, this.#asked, this.holder.maxEventBytes);
    const { suspendId } = question;
    if (this.#questions.has(suspendId))
      throw new Refused('QUESTION_REPEATED', `The question ${suspendId} was asked before in this run of the handler.`);
    this.#questions.add(suspendId);
    const answer = answers.find((given) => given.suspendId === suspendId);
    if (answer) return answer;
    this.#question ??= question;
    throw new Suspended();
  }

  private context(task: LeasedTask, sender: EventSender, steps: Steps): TaskContext {
    const { taskId, taskType, attempt, metadata, attachments, traceparent, answers } = task;
    for (const file of attachments) if (file.source === 'worker') this.#attached.set(file.filename, file);
    const resume = answers.at(-1);
    const { signal } = this.#stop;
    const live = <T>(work: () => Promise<T> | T) =>
      this.#outcomes.of(() => {
        signal.throwIfAborted();
        if (this.#isDone) throw this.tooLate();
        this.checkPlace(steps);
        return work();
      });
    const say = (event: () => SizedEvent | undefined) => live(() => steps.say(this.sized(event())));
    return {
      taskId,
      taskType,
      attempt,
      metadata,
      rawJson: (of) => rawJson(task, of),
      attachments: attachments.map((file) => ({
        ...file,
        open: () => this.holder.readAttachment(file.attachmentId, signal),
      })),
      ...(traceparent && { traceparent }),
      signal,
      ...(resume && { resume }),
      suspend: (question) =>
        this.#outcomes.of(() => {
          this.checkPlace(steps);
          return this.ask(question, answers);
        }),
      step: <T>(key: string, body: StepRun<T>, options: StepOptions = {}) =>
        live(() => steps.run(key, body, options) as Promise<T>),
      attach: (filename, bytes, { mediaType } = {}) => live(() => this.attach(filename, mediaType, bytes, steps)),
      progress: (progress, details = {}) => say(() => progressEvent(progress, details)),
      message: (message, level) => say(() => messageEvent(message, level)),
      output: (data, { channel = 'text', op = 'append' } = {}) =>
        say(() => outputEvent({ channel, op, data }, attempt, this.#halves)),
    };
  }

  private attach(
    given: string,
    mediaType: string | undefined,
    bytes: FileBytes,
    { isRepeating }: Steps,
  ): Promise<Attachment> | Attachment {
    checkFile(given, mediaType);
    const filename = given.normalize('NFC');
    const stored = this.#attached.get(filename);
    if (isRepeating && stored) return stored;
    const attaching = withContent(bytes, this.#stop.signal, async (content) => {
      const attachment = await this.call(() => this.holder.attach({ ...content, filename, mediaType }));
      this.#attached.set(filename, attachment);
      return attachment;
    }).catch((error: unknown) => {
      throw error instanceof Refused && error.code !== 'ATTACHMENT_REFUSED' ? refused(error.message, error) : error;
    });
    this.#attaching.add(attaching);
    const over = () => this.#attaching.delete(attaching);
    attaching.then(over, over);
    return attaching;
  }

  /** Code of the handler that goes on behind its end. What it says is not stored, and the operator hears of it once. */
  private tooLate(why = 'The handler had returned before this call.'): LeaseLost {
    if (!this.#isLate) this.report('call_refused', new Refused('TOO_LATE', why));
    this.#isLate = true;
    return new LeaseLost();
  }

  /** @throws TryOver */
  private checkPlace(steps: Steps): void {
    try {
      steps.checkPlace();
    } catch (error) {
      this.tooLate((error as TryOver).message);
      throw error;
    }
  }

  /** @throws Refused */
  private sized(event: SizedEvent | undefined): SizedEvent | undefined {
    const { maxEventBytes = Number.POSITIVE_INFINITY } = this.holder;
    if (event && event.bytes > maxEventBytes) throw eventTooLarge(maxEventBytes);
    return event;
  }

  private send(event: SizedEvent, sender: EventSender): Promise<void> | undefined {
    // What only the service can judge is not called buffered.
    if (event.type !== 'TASK_OUTPUT' || event.bytes > MAX_EVENT_BYTES) return sender.send(event);
    return sender.buffer(event, (error) => this.#outcomes.fail(error));
  }
}

function rawJson({ input, metadata, answers, texts }: LeasedTask, of: JsonObject): string {
  if (of === input) return texts.input();
  if (of === metadata) return texts.metadata();
  const index = answers.findIndex(({ payload }) => payload === of);
  if (index < 0) throw new TypeError('rawJson takes the input, the metadata or the payload of an answer.');
  return texts.payload(index);
}

function manyRefused([first, ...others]: readonly unknown[]): Error {
  const message = first instanceof Error ? first.message : '';
  return new Error(`${message} (and ${others.length} more)`, { cause: first });
}
