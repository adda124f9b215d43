import type { TaskSnapshot } from '../../protocol/src/snapshots.js';
import { asError, TaskBridgeError, TaskCancelled, TaskFailed } from './errors.js';
import { TaskFold } from './fold.js';
import type { Http } from './http.js';
import { type Live, LiveValue } from './live.js';
import { endsTask, type TaskEvent } from './log.js';
import type { Logs } from './logs.js';
import type { TaskState } from './state.js';
import { Bell, linked, type Linked, randomId } from './waiting.js';

/** What became of an answer. `answered-by-another`: another answer was first. */
export type AnswerOutcome = 'accepted' | 'expired' | 'answered-by-another';

export interface OutputChange {
  /** The whole text that counts now. */
  readonly text: string;
  /** What came behind the text before; with `replaced` the whole text. */
  readonly delta: string;
  /** Whether the text before is no beginning of this one: a part of it became void, or was replaced. */
  readonly replaced: boolean;
}

/** A task of the service, and the one way to look at it. Nothing is followed until somebody looks. */
export interface Task<R = unknown> {
  /** Undefined until the service has answered the create. */
  readonly id: string | undefined;
  /** The id of the request that created it, where this client did. */
  readonly requestId: string | undefined;
  readonly state: Live<TaskState<R>>;
  /** Resolves with the id as soon as the service has it. Rejects with its refusal. */
  created(): Promise<string>;
  /**
   * The events after the cursor, each once and in order, over every reconnect and restart, to the terminal event. Default: from the start.
   * @throws TaskBridgeError when the task cannot be followed
   */
  events(options?: { readonly after?: string; readonly signal?: AbortSignal }): AsyncIterableIterator<TaskEvent>;
  /** The text of a channel as it grows, at most once a frame, to the end of the task. Default: the channel `text`. */
  output(channel?: string): AsyncIterableIterator<OutputChange>;
  /** @throws TaskFailed, TaskCancelled, or TaskBridgeError when the task cannot be followed */
  result(): Promise<R>;
  /**
   * Answers the open question, or that of `suspendId`. The same answer again is the same action.
   * @throws TaskBridgeError: NO_QUESTION, ACTION_NOT_ALLOWED, TASK_ALREADY_TERMINAL and others
   */
  answer(actionType: string, payload?: object, options?: { readonly suspendId?: string }): Promise<AnswerOutcome>;
  /** Asks the service to end it. Leaving a loop does not: that only stops looking. */
  cancel(reason?: string): Promise<'requested' | 'over'>;
}

export interface TaskPorts {
  readonly http: Http;
  readonly logs: Logs;
  /** Looked at from the start of the log, because this client has just created it. */
  isNew?: boolean;
  /** It has ended. */
  onEnd?: () => void;
}

const taskPath = (id: string): string => `/tasks/${encodeURIComponent(id)}`;

const OUTCOMES: Readonly<Record<string, AnswerOutcome>> = {
  REJECTED_EXPIRED: 'expired',
  REJECTED_ALREADY_RESOLVED: 'answered-by-another',
};

export class FollowedTask<R> implements Task<R> {
  readonly state: LiveValue<TaskState<R>>;
  readonly #actions = new Map<string, string>();
  #id: string | undefined;
  #fold: TaskFold<R>;
  /** Whether the fold has a beginning: that of the log, or a snapshot. */
  #hasBegun = false;
  #error: TaskBridgeError | undefined;
  #unreachable: TaskState<R> | undefined;
  #isOver = false;

  /** `created` resolves with the id. `requestId`: this client creates it. */
  constructor(
    private readonly ports: TaskPorts,
    id: string | undefined,
    private readonly creation: Promise<string>,
    readonly requestId: string | undefined,
  ) {
    this.#id = id;
    this.#fold = new TaskFold(id);
    this.state = new LiveValue(
      () => this.#shown(),
      ports.http.closed,
      () => {
        const own = linked(ports.http.closed);
        void this.#follow(own);
        return () => own.abort();
      },
    );
    creation.then(
      (created) => {
        this.#id = created;
        this.#fold = new TaskFold(created);
        this.#hasBegun = ports.isNew ?? false;
        this.state.changed();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  get id(): string | undefined {
    return this.#id;
  }

  created(): Promise<string> {
    return this.creation;
  }

  async *events({
    after = '0',
    signal,
  }: {
    after?: string;
    signal?: AbortSignal;
  } = {}): AsyncIterableIterator<TaskEvent> {
    const { http, logs } = this.ports;
    if (!/^\d*$/.test(after)) throw new TaskBridgeError('INVALID_CURSOR', 'No event id.', 400);
    const id = await this.creation;
    const { signal: ended } = linked(signal, http.closed);
    const { log, leave } = logs.join(id, Number(after));
    try {
      for (let cursor = Number(after); ; ) {
        const events = await log.after(cursor, ended);
        if (events.length === 0) return;
        for (const event of events) {
          cursor = Number(event.eventId);
          yield event;
          if (endsTask(event.type)) return;
        }
      }
    } finally {
      leave();
    }
  }

  async *output(channel = 'text'): AsyncIterableIterator<OutputChange> {
    let before = '';
    for await (const state of this.#states()) {
      const text = state.output[channel] ?? '';
      const replaced = !text.startsWith(before);
      if (text !== before) yield { text, delta: replaced ? text : text.slice(before.length), replaced };
      before = text;
    }
  }

  async result(): Promise<R> {
    const id = await this.creation;
    for await (const state of this.#states()) {
      if (state.status === 'completed') return state.result;
      if (state.status === 'failed') throw new TaskFailed(id, state.failure);
      if (state.status === 'cancelled') throw new TaskCancelled(id, state.reason);
    }
    // The states end with one of the three.
    return undefined as R;
  }

  async answer(
    actionType: string,
    payload: object = {},
    { suspendId }: { suspendId?: string } = {},
  ): Promise<AnswerOutcome> {
    const path = taskPath(await this.creation);
    const asked = suspendId ?? (await this.#openQuestion(path));
    const content = JSON.stringify([asked, actionType, payload]);
    const clientActionId = this.#actions.get(content) ?? randomId();
    this.#actions.set(content, clientActionId);
    const body = { clientActionId, suspendId: asked, actionType, payload };
    const { status } = await this.ports.http.post<{ status: string }>(`${path}/actions`, body);
    return OUTCOMES[status] ?? 'accepted';
  }

  async cancel(reason?: string): Promise<'requested' | 'over'> {
    const path = `${taskPath(await this.creation)}/cancel`;
    const { status } = await this.ports.http.post<{ status: string }>(path, reason === undefined ? {} : { reason });
    return status === 'ALREADY_TERMINAL' ? 'over' : 'requested';
  }

  /** That of the state; where nobody has looked or it asks nothing yet, that of the snapshot. */
  async #openQuestion(path: string): Promise<string> {
    const state = this.#shown();
    if (state.status === 'asking') return state.question.suspendId;
    const { openSuspension } = await this.ports.http.json<TaskSnapshot>(path);
    if (!openSuspension) throw new TaskBridgeError('NO_QUESTION', 'The task asks nothing.');
    return openSuspension.suspendId;
  }

  /** The states that a frame would show, the last one included. @throws TaskBridgeError when it cannot be followed */
  async *#states(): AsyncGenerator<TaskState<R>> {
    const { closed } = this.ports.http;
    const bell = new Bell();
    const leave = this.state.subscribe(() => bell.ring());
    try {
      for (let seen: TaskState<R> | undefined; ; ) {
        const state = this.#shown();
        if (state.status === 'unreachable') throw state.error;
        if (state !== seen) yield state;
        seen = state;
        if (/completed|failed|cancelled/.test(state.status)) return;
        closed.throwIfAborted();
        if (state === this.#shown()) await bell.next(closed);
      }
    } finally {
      leave();
    }
  }

  /** Keeps the state as the log says, until the task is over or nobody looks. */
  async #follow({ signal }: Linked): Promise<void> {
    this.#error = undefined;
    try {
      const id = await this.creation;
      while (!this.#isOver && !signal.aborted) {
        if (!this.#hasBegun || !this.#fold.isExact) await this.#join(id, signal);
        const fold = this.#fold;
        this.state.changed();
        if (this.#isOver) return;
        for await (const event of this.events({ after: String(fold.head), signal })) {
          fold.add(event);
          this.state.changed();
          if (!fold.isExact) break;
        }
        if (fold.isExact) this.#end();
      }
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  /** From a snapshot, so that a long log need not be read. */
  async #join(id: string, signal: AbortSignal): Promise<void> {
    const { http } = this.ports;
    const snapshot = await http.json<TaskSnapshot>(`${taskPath(id)}?include=output`, { signal });
    const fold = new TaskFold<R>(id, snapshot);
    if (snapshot.status === 'CANCELLED') {
      for await (const event of this.events({ after: String(fold.head - 1), signal })) fold.add(event);
    }
    this.#fold = fold;
    this.#hasBegun = true;
    if (snapshot.finishedAt) this.#end();
  }

  #end(): void {
    this.#isOver = true;
    this.ports.onEnd?.();
  }

  #fail(cause: unknown): void {
    if (!this.ports.http.closed.aborted) {
      this.#error = asError(cause);
      this.#unreachable = undefined;
    }
    this.state.changed();
  }

  /** The same object until something has changed. */
  #shown(): TaskState<R> {
    const { state } = this.#fold;
    if (!this.#error) return state;
    return (this.#unreachable ??= { ...state, status: 'unreachable', error: this.#error } as TaskState<R>);
  }
}
