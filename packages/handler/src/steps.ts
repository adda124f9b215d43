import { AsyncLocalStorage } from 'node:async_hooks';
import { patternOf, TASK_TYPE } from '#protocol/ids.js';
import { MAX_STEP_RESULT_BYTES } from '#protocol/limits.js';
import { backoffMs } from './backoff.js';
import { argumentInvalid, eventInvalid, type SizedEvent, stepRetryingEvent } from './events.js';
import type { EventSender } from './event-sender.js';
import { failureOf } from './failures.js';
import type { HalfCharacters } from './half-characters.js';
import { HeldEvents } from './held-events.js';
import { LeaseLost, Refused, TryOver } from './holder-errors.js';
import type { FinishedStep, StoredResult } from './lease-holder.js';
import { NotStorable, storableJson, TooLarge } from './storable-json.js';
import { tangible } from './tangible.js';
import { type StepOptions, type StepRun, Suspended, TaskFailure } from './task-handler.js';

const LONGEST_BACKOFF_MS = 10_000;
const MAX_NUMBER = 999_999_999;
const LONGEST_SECONDS = 24 * 60 * 60;
const MAX_RETRIES = 1_000;
/** Keys have the alphabet of task types. */
const A_KEY = patternOf(TASK_TYPE);

/** One try of a step's body. */
interface Try {
  readonly key: string;
  hasPutOut: boolean;
  hasFailed: boolean;
}

/**
 * Where code of a handler runs: in a try of a step, or outside of steps (null). Undefined where this is not known, as in a callback
 * of a connection that the handler shares with others.
 */
const place = new AsyncLocalStorage<Try | null>();

/** What steps need of the attempt that they belong to. */
export interface StepsOf {
  readonly taskId: string;
  readonly attempt: number;
  /** Oldest first; undefined where steps are not stored. */
  readonly stored: readonly FinishedStep[] | undefined;
  readonly signal: AbortSignal;
  readonly sender: EventSender;
  readonly halves: HalfCharacters;
  /** Stores the result. Repeats the call until it knows its fate. */
  readonly finish: (batchSeq: number, step: FinishedStep) => Promise<StoredResult>;
  /** Sends output, progress or a message. */
  readonly send: (event: SizedEvent) => Promise<void> | undefined;
  /** Takes the error of what was held, and is refused. */
  readonly fail: (error: unknown) => void;
  /** Tells the operator of an error that fails nothing. */
  readonly report: (error: unknown) => void;
}

/**
 * The steps of one run of a handler. What is stored is not run again. Output of an earlier run stays valid up to its last finished
 * step, the boundary. So what this run says before the boundary has returned is held, and dropped when it returns.
 */
export class Steps {
  readonly #results: ReadonlyMap<string, string>;
  readonly #boundary: string | undefined;
  readonly #asked = new Set<string>();
  /** The present try of each step whose body runs. */
  readonly #open = new Set<Try>();
  /** Undefined behind the boundary. */
  #held: HeldEvents<Try> | undefined;
  #closed: (() => void)[] = [];

  constructor(private readonly of: StepsOf) {
    const stored = of.stored ?? [];
    this.#results = new Map(stored.map(({ key, resultJson }) => [key, resultJson]));
    this.#boundary = stored.at(-1)?.key;
    if (stored.length > 0) this.#held = new HeldEvents();
  }

  /** Runs the handler, so that its code is known to be outside of steps. */
  outside<T>(handler: () => T): T {
    return place.run(null, handler);
  }

  /** @throws TryOver where the caller is the body of a try that has failed: its time was up, say */
  checkPlace(): void {
    const here = place.getStore();
    if (here?.hasFailed) throw new TryOver(here.key);
  }

  /** Output, progress or a message. @throws Refused where it belongs to no step for certain */
  say(event: SizedEvent | undefined): Promise<void> | undefined {
    const [only, other] = this.#open;
    if (other) throw overlap('while two steps are open, none of them may put anything out');
    const here = place.getStore();
    if (only && here !== undefined && !(here && this.#open.has(here)))
      throw overlap(`while ${only.key} is open, only its body may put anything out`);
    if (only) only.hasPutOut = true;
    if (event === undefined) return undefined;
    if (!this.#held) return this.of.send(event);
    this.#held.add(event, only);
    return undefined;
  }

  /** Whether what comes now was there before: outside of steps, and before the end of the step that was finished last. */
  get isRepeating(): boolean {
    return this.#held !== undefined && this.#open.size === 0;
  }

  /** Its result, of this run or of an earlier one. @throws Refused, and what the body throws */
  async run(key: unknown, body: StepRun<unknown>, options: StepOptions): Promise<unknown> {
    const checked = checkedOptions(options);
    const stepKey = stepKeyOf(key, checked);
    if (typeof body !== 'function') throw argumentInvalid('step', 'body', 'must be a function');
    if (this.#asked.has(stepKey))
      throw new Refused('STEP_REPEATED', `The step ${stepKey} was run before in this run of the handler.`);
    const stored = this.#results.get(stepKey);
    if (stored === undefined && [...this.#open].some(({ hasPutOut }) => hasPutOut))
      throw overlap(`${stepKey} began while another step was open that puts something out`);
    this.#asked.add(stepKey);
    // What came before this step was there before, except what a body says that still runs.
    this.#held?.keep(this.#open);
    if (stepKey === this.#boundary) this.release();
    if (stored !== undefined) return JSON.parse(stored);
    try {
      return JSON.parse(await this.finished(stepKey, body, checked));
    } finally {
      for (const closed of this.#closed.splice(0)) closed();
    }
  }

  /** Sends what is held: this run takes another way than the one before, or the boundary has returned. */
  release(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held?.isFull) this.of.report(new Refused('PAYLOAD_TOO_LARGE', HeldEvents.FULL));
    for (const event of held?.events ?? []) void this.of.send(event)?.catch(this.of.fail);
  }

  /** Resolves when no step is open. */
  async settled(): Promise<void> {
    while (this.#open.size > 0) await new Promise<void>((closed) => this.#closed.push(closed));
  }

  private async finished(key: string, body: StepRun<unknown>, options: StepOptions): Promise<string> {
    const { sender, halves, finish, stored } = this.of;
    const last: { current?: Try } = {};
    try {
      const result = await this.tried(key, body, options, last);
      const resultJson = await resultJsonOf(key, result);
      if (halves.isWaiting) throw eventInvalid('data', 'ends within a character');
      // The end of this step is the new boundary. What this run said before it is valid, and no later run says it again.
      this.release();
      if (stored === undefined) {
        await sender.settled();
        return resultJson;
      }
      return await sender.finish(async (batchSeq) => finish(batchSeq, { key, resultJson }));
    } finally {
      if (last.current) this.#open.delete(last.current);
    }
  }

  /** The body's result, after as many tries as it has. `last` keeps the step open until its result is stored. */
  private async tried(
    key: string,
    body: StepRun<unknown>,
    { retries = 0, timeoutSeconds }: StepOptions,
    last: { current?: Try },
  ): Promise<unknown> {
    const { sender, signal, halves, attempt, stored } = this.of;
    for (let failures = 0; ; failures += 1) {
      const isLast = failures === retries;
      const one: Try = { key, hasPutOut: false, hasFailed: false };
      this.#open.add(one);
      if (last.current) this.#open.delete(last.current);
      last.current = one;
      // Where a new try would begin, should this one put something out.
      if (!isLast) await sender.settled();
      const before = sender.headEventId;
      try {
        return await place.run(one, () => this.once(key, body, timeoutSeconds));
      } catch (thrown) {
        one.hasFailed = true;
        const error = tangible(thrown);
        if (isLast || signal.aborted || isFinal(error)) throw error;
      }
      if (halves.isWaiting) halves.drop();
      if (this.#held) this.#held.drop(one);
      else if (one.hasPutOut && stored !== undefined) await sender.send(stepRetryingEvent(key, before, attempt));
      await pause(backoffMs(failures, LONGEST_BACKOFF_MS), signal);
    }
  }

  private async once(key: string, body: StepRun<unknown>, timeoutSeconds: number | undefined): Promise<unknown> {
    const idempotencyKey = `${this.of.taskId}:${key}`;
    if (timeoutSeconds === undefined) return body({ idempotencyKey, signal: this.of.signal });
    const late = new AbortController();
    const error = new Error(`The step ${key} took longer than ${timeoutSeconds} s.`);
    const timer = setTimeout(() => late.abort(error), timeoutSeconds * 1_000);
    try {
      const over = new Promise<never>((_, reject) => {
        late.signal.addEventListener('abort', () => reject(error));
      });
      const signal = AbortSignal.any([this.of.signal, late.signal]);
      return await Promise.race([Promise.resolve(body({ idempotencyKey, signal })), over]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function overlap(why: string): Refused {
  return new Refused('STEP_OVERLAP', `Steps overlap: ${why}.`);
}

/** Another try would come to the same, or there is nobody left to try. */
function isFinal(error: unknown): boolean {
  if (error instanceof TaskFailure) return !failureOf(error).retryable;
  return error instanceof Suspended || error instanceof Refused || error instanceof LeaseLost;
}

function checkedOptions(options: StepOptions): StepOptions {
  const { index, version, timeoutSeconds, retries } = options;
  if (!isWhole(index, 0, MAX_NUMBER))
    throw argumentInvalid('step', 'index', `must be a whole number from 0 to ${MAX_NUMBER}`);
  if (!isWhole(version, 1, MAX_NUMBER))
    throw argumentInvalid('step', 'version', `must be a whole number from 1 to ${MAX_NUMBER}`);
  if (!isWhole(retries, 0, MAX_RETRIES))
    throw argumentInvalid('step', 'retries', `must be a whole number from 0 to ${MAX_RETRIES}`);
  if (timeoutSeconds !== undefined && !(timeoutSeconds > 0 && timeoutSeconds <= LONGEST_SECONDS))
    throw argumentInvalid('step', 'timeoutSeconds', `must be more than 0, and at most ${LONGEST_SECONDS}`);
  return options;
}

function isWhole(value: number | undefined, from: number, to: number): boolean {
  return value === undefined || (Number.isInteger(value) && value >= from && value <= to);
}

/** As it is stored: the third of a loop is `key#3`, the second version `key@2`. */
function stepKeyOf(key: unknown, { index, version = 1 }: StepOptions): string {
  if (typeof key !== 'string' || !A_KEY.test(key)) throw argumentInvalid('step', 'key', `must be ${TASK_TYPE.title}`);
  return `${key}${index === undefined ? '' : `#${index}`}${version === 1 ? '' : `@${version}`}`;
}

/** @throws Refused */
async function resultJsonOf(key: string, result: unknown): Promise<string> {
  try {
    return (await storableJson(result, MAX_STEP_RESULT_BYTES)) ?? 'null';
  } catch (error) {
    if (error instanceof TooLarge) {
      const most = `The result of a step may have at most ${MAX_STEP_RESULT_BYTES} bytes`;
      throw new Refused('PAYLOAD_TOO_LARGE', `${most}; that of ${key} has more.`);
    }
    if (!(error instanceof NotStorable)) throw error;
    throw new Refused('REQUEST_VALIDATION_ERROR', `The result of the step ${key} cannot be stored: ${error.message}.`);
  }
}

/** @throws the reason of the signal, when it aborts */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
