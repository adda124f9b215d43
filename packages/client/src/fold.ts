import { OutputFold } from '../../protocol/src/output-fold.js';
import type { JsonObject } from '../../protocol/src/json-schema.js';
import type { ShownOutput, TaskSnapshot } from '../../protocol/src/snapshots.js';
import type { TaskEvent } from './log.js';
import type { Known, Standing, TaskState } from './state.js';

/** Pieces of output that are kept apart, so that an event can void some of them. Those before are one text. */
const KEPT_PIECES = 1_000;

/** The state of a task: its snapshot, if it began with one, and the events behind. */
export class TaskFold<R> {
  readonly #output: OutputFold;
  readonly #taskId: string | undefined;
  #pieces = 0;
  #standing: Standing<R>;
  #progress: Pick<Known, 'progress' | 'stage' | 'message'>;
  #attempt: number;
  #head: number;
  #state: TaskState<R> | undefined;

  /** Without an id: it is not created yet. */
  constructor(taskId: string | undefined, snapshot?: TaskSnapshot) {
    this.#taskId = taskId;
    this.#output = new OutputFold(snapshot as (TaskSnapshot & ShownOutput) | undefined);
    this.#progress = { progress: snapshot?.progress, stage: undefined, message: undefined };
    this.#attempt = snapshot?.attempt ?? 0;
    this.#head = Number(snapshot?.headEventId ?? 0);
    this.#standing = snapshot ? standingOf(snapshot) : { status: taskId === undefined ? 'creating' : 'waiting' };
  }

  /** The id of the last event in it. */
  get head(): number {
    return this.#head;
  }

  /** False: an event voids text that only the service knows. Read the snapshot again. */
  get isExact(): boolean {
    return this.#output.isExact;
  }

  /** The same object until an event has changed it. */
  get state(): TaskState<R> {
    return (this.#state ??= this.#made());
  }

  #made(): TaskState<R> {
    const output = this.#output.texts();
    return {
      taskId: this.#taskId,
      ...this.#progress,
      text: output['text'] ?? '',
      output,
      attempt: this.#attempt,
      eventId: this.#head,
      ...this.#standing,
    } as TaskState<R>;
  }

  /** The next event of the log. */
  add(event: TaskEvent): void {
    this.#state = undefined;
    this.#head = Number(event.eventId);
    this.#output.add(this.#head, event.type, event.payload as JsonObject);
    const { progress = this.#progress.progress, stage, message } = event.payload as Partial<Known>;
    if (event.type === 'TASK_PROGRESS')
      this.#progress = { progress, stage, message: message ?? this.#progress.message };
    if (event.type === 'TASK_MESSAGE') this.#progress = { ...this.#progress, message };
    if (event.type === 'TASK_COMPLETED') this.#progress = { ...this.#progress, progress: 100 };
    if (event.type === 'TASK_OUTPUT' && (this.#pieces += 1) % KEPT_PIECES === 0) this.#output.join(KEPT_PIECES);
    this.#attempt = (event.payload as { attempt?: number }).attempt ?? Math.max(this.#attempt, 1);
    this.#standing = standingAfter<R>(event);
  }
}

function standingOf<R>(snapshot: TaskSnapshot): Standing<R> {
  const { status, result, failure, openSuspension: question, waitingFor } = snapshot;
  if (status === 'COMPLETED') return { status: 'completed', result: result as R };
  if (status === 'FAILED' && failure) return { status: 'failed', failure };
  // The reason is in the terminal event alone, which the reader of the snapshot adds.
  if (status === 'CANCELLED') return { status: 'cancelled', reason: '' };
  if (question) return { status: 'asking', question };
  if (waitingFor === 'retry') return { status: 'retrying', reason: undefined, notBefore: undefined };
  return { status: status === 'ACCEPTED' ? 'waiting' : 'running' };
}

function standingAfter<R>({ type, payload }: TaskEvent): Standing<R> {
  if (type === 'TASK_SUSPENDED') return { status: 'asking', question: payload };
  if (type === 'TASK_RETRYING') return { status: 'retrying', reason: payload.reason, notBefore: payload.notBefore };
  if (type === 'TASK_COMPLETED') return { status: 'completed', result: payload.result as R };
  if (type === 'TASK_FAILED') return { status: 'failed', failure: payload };
  if (type === 'TASK_CANCELLED') return { status: 'cancelled', reason: payload.reason };
  return { status: 'running' };
}
