import { type Client, type Task, TaskBridgeError, type TaskSummary } from '@taskbridge/client';
import type { ChatTransport, UIMessage, UIMessageChunk } from 'ai';
import { answerIn } from './question.js';
import { asks, TurnFold } from './turn.js';

type Sent<M extends UIMessage> = Parameters<ChatTransport<M>['sendMessages']>[0];

/** What a turn begins with: what the AI SDK gives to `sendMessages`. */
export type Turn<M extends UIMessage = UIMessage> = Omit<Sent<M>, 'abortSignal' | 'headers'>;

export interface TaskChatOptions<M extends UIMessage = UIMessage> {
  readonly client: Pick<Client, 'create' | 'task' | 'list'>;
  /** The type of the tasks. */
  readonly taskType: string;
  /** The input of a turn's task. Default: `{ chatId, messages }`. */
  readonly input?: (turn: Turn<M>) => object | Promise<object>;
}

/** How many of the newest tasks of the type are looked through for the last turn of a chat: a page of the list. */
const LOOKED_THROUGH = 100;

/**
 * Each turn of a chat is a task, and its message is made of the log of the task. A stream goes on by itself after any cut. Its message
 * has the id of the task, so a replay takes the place of what is there.
 */
export class TaskChatTransport<M extends UIMessage = UIMessage> implements ChatTransport<M> {
  /** A stream of `reconnectToStream` begins with the first chunk of its turn. */
  readonly resumeStreamIsReplay = true;
  readonly #newest = new Map<string, Task>();

  constructor(private readonly options: TaskChatOptions<M>) {}

  /** Begins a turn, or answers the question of one. */
  async sendMessages({ abortSignal, headers: _, ...turn }: Sent<M>): Promise<ReadableStream<UIMessageChunk>> {
    const { client, taskType, input = ({ chatId, messages }) => ({ chatId, messages }) } = this.options;
    const { chatId, messages, messageId, trigger } = turn;
    const answer = trigger === 'submit-message' ? answerIn(messages.find(({ id }) => id === messageId)) : undefined;
    if (answer) {
      const { taskId, actionType, payload, suspendId, eventId } = answer;
      const task = client.task(taskId);
      // What became of the answer is in the log, also where another one was first.
      await task.answer(actionType, payload, { suspendId }).catch((error: unknown) => {
        if (!(error instanceof TaskBridgeError && error.code === 'TASK_ALREADY_TERMINAL')) throw error;
      });
      return streamOf((signal) => chunksOf(task, taskId, eventId, true, signal), abortSignal);
    }
    const given = (await input(turn)) as Parameters<Client['create']>[1];
    const task = client.create(taskType, given, {
      requestId: crypto.randomUUID(),
      metadata: { chatId },
      ...(abortSignal && { signal: abortSignal }),
    });
    this.#newest.set(chatId, task);
    const taskId = await task.created();
    return streamOf((signal) => chunksOf(task, taskId, 0, false, signal), abortSignal);
  }

  /** Replays the newest turn of the chat, also one that is over: a page that was away finds its end. Null without a turn. */
  async reconnectToStream({
    chatId,
    abortSignal,
  }: Parameters<ChatTransport<M>['reconnectToStream']>[0]): Promise<ReadableStream<UIMessageChunk> | null> {
    const found = await this.#find(chatId);
    if (!found) return null;
    const { taskId, headEventId } = found;
    const task = this.options.client.task(taskId);
    return streamOf((signal) => chunksOf(task, taskId, Number(headEventId), false, signal), abortSignal);
  }

  /** Ends the newest turn of the chat. `stop()` of a chat only stops looking. */
  async cancel(chatId: string, reason?: string): Promise<void> {
    const found = this.#newest.has(chatId) ? undefined : await this.#find(chatId);
    const task = found ? this.options.client.task(found.taskId) : this.#newest.get(chatId);
    await task?.cancel(reason);
  }

  async #find(chatId: string): Promise<TaskSummary | undefined> {
    let looked = 0;
    for await (const task of this.options.client.list({ taskType: this.options.taskType })) {
      if (task.metadata['chatId'] === chatId) return task;
      if ((looked += 1) === LOOKED_THROUGH) break;
    }
    return undefined;
  }
}

/**
 * The chunks of a turn. What exists up to the event `known` comes at once, without what is void. With `isContinued` it does not come: the
 * message has it, up to its question.
 */
async function* chunksOf(task: Task, taskId: string, known: number, isContinued: boolean, signal: AbortSignal) {
  const turn = new TurnFold(taskId);
  if (known === 0) yield* turn.begin();
  for await (const event of task.events({ signal })) {
    const changes = turn.add(event);
    const eventId = Number(event.eventId);
    if (eventId < known) continue;
    if (eventId > known) yield* changes;
    else if (!isContinued) yield* turn.begin();
    else {
      yield* turn.goOn();
      continue;
    }
    const last = asks(event) ? turn.pause() : turn.end(event);
    if (!last) continue;
    yield* last;
    return;
  }
}

/** A stream of chunks. Leaving it only stops looking. */
function streamOf(
  begin: (signal: AbortSignal) => AsyncGenerator<UIMessageChunk>,
  abortSignal: AbortSignal | undefined,
): ReadableStream<UIMessageChunk> {
  const leaving = new AbortController();
  const chunks = begin(abortSignal ? AbortSignal.any([abortSignal, leaving.signal]) : leaving.signal);
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => leaving.abort(reason),
  });
}
