import type { AskedQuestion, TaskEvent } from '@taskbridge/client';
import type { UIMessageChunk } from 'ai';
import { deniesBy, questionId } from './question.js';

/** Channels of output that a message shows. */
type Channel = 'text' | 'reasoning';

/** What counts of a turn, in the order of its log. */
interface Piece {
  readonly eventId: number;
  readonly channel: Channel;
  readonly data: string;
}
interface Asked {
  readonly eventId: number;
  readonly question: AskedQuestion;
  actionType?: string;
}
type Part = Piece | Asked;

const isPiece = (part: Part): part is Piece => 'channel' in part;
const CHANNELS: readonly string[] = ['text', 'reasoning'] satisfies Channel[];

/** Makes chunks of the events of a task. A turn is one step of its message, so `reset-step` takes back what becomes void. */
export class TurnFold {
  #parts: Part[] = [];
  /** The text in the message that the next piece of its channel joins. */
  #open: { readonly channel: Channel; readonly id: string } | undefined;

  constructor(private readonly taskId: string) {}

  /** What changes in the message with the next event of the log. */
  add(event: TaskEvent): readonly UIMessageChunk[] {
    const eventId = Number(event.eventId);
    const { supersedesAfterEventId: since } = event.payload as { readonly supersedesAfterEventId?: string };
    if (since !== undefined) return this.#withdraw((part) => isPiece(part) && part.eventId > Number(since));
    if (event.type === 'TASK_OUTPUT' && CHANNELS.includes(event.payload.channel)) {
      const { channel, op, data } = event.payload as { channel: Channel; op: string; data: string };
      const replaced = op === 'replace' ? this.#withdraw((part) => isPiece(part) && part.channel === channel) : [];
      return [...replaced, ...this.#put({ eventId, channel, data })];
    }
    if (event.type === 'TASK_PROGRESS') return [{ type: 'data-progress', data: event.payload, transient: true }];
    if (asks(event)) return this.#put({ eventId, question: event.payload });
    if (event.type !== 'TASK_ACTION_ACCEPTED') return [];
    const asked = this.#asked.find(({ question }) => question.suspendId === event.payload.suspendId);
    if (!asked) return [];
    asked.actionType = event.payload.actionType;
    return this.#answered(asked, asked.actionType);
  }

  /** All that counts, as the first chunks of a message. */
  begin(): readonly UIMessageChunk[] {
    return [...this.goOn(), { type: 'start-step' }, ...this.#all()];
  }

  /** The first chunk of a stream for a message that has all that counts. */
  goOn(): readonly UIMessageChunk[] {
    this.#open = undefined;
    return [{ type: 'start', messageId: this.taskId, messageMetadata: { taskId: this.taskId } }];
  }

  /** The last chunks of a stream: the turn waits for an answer. */
  pause(): readonly UIMessageChunk[] {
    return [...this.#close(), { type: 'finish-step' }, { type: 'finish', finishReason: 'tool-calls' }];
  }

  /** The last chunks of the turn; undefined for an event that does not end it. */
  end({ type, payload }: TaskEvent): readonly UIMessageChunk[] | undefined {
    if (type === 'TASK_COMPLETED') {
      const messageMetadata = { result: payload.result };
      return [...this.#ended(), { type: 'finish', finishReason: 'stop', messageMetadata }];
    }
    if (type === 'TASK_FAILED') return [...this.#ended(), { type: 'error', errorText: payload.message }];
    if (type === 'TASK_CANCELLED') return [...this.#ended(), { type: 'abort', reason: payload.reason }];
    return undefined;
  }

  get #asked(): readonly Asked[] {
    return this.#parts.filter((part) => 'question' in part);
  }

  #put(part: Part): readonly UIMessageChunk[] {
    this.#parts.push(part);
    return this.#shown(part);
  }

  /** Everything leaves the message, and comes again without the parts that are void. */
  #withdraw(isVoid: (part: Part) => boolean): readonly UIMessageChunk[] {
    const left = this.#parts.filter((part) => !isVoid(part));
    if (left.length === this.#parts.length) return [];
    this.#parts = left;
    return [{ type: 'reset-step' }, ...this.#all()];
  }

  #all(): readonly UIMessageChunk[] {
    this.#open = undefined;
    return joined(this.#parts.flatMap((part) => this.#shown(part)));
  }

  #shown(part: Part): readonly UIMessageChunk[] {
    if (!isPiece(part)) {
      const asked = [...this.#close(), ...this.#request(part)];
      return part.actionType === undefined ? asked : [...asked, ...this.#answered(part, part.actionType)];
    }
    const { channel, data: delta, eventId } = part;
    if (this.#open?.channel === channel) return [{ type: `${channel}-delta`, id: this.#open.id, delta }];
    const closed = this.#close();
    const id = String(eventId);
    this.#open = { channel, id };
    return [...closed, { type: `${channel}-start`, id }, { type: `${channel}-delta`, id, delta }];
  }

  #close(): readonly UIMessageChunk[] {
    const open = this.#open;
    this.#open = undefined;
    return open ? [{ type: `${open.channel}-end`, id: open.id }] : [];
  }

  #request(asked: Asked): readonly UIMessageChunk[] {
    const { reasonCode: toolName, interaction: input = {} } = asked.question;
    const toolCallId = this.#idOf(asked);
    return [
      { type: 'tool-input-available', toolCallId, toolName, input, dynamic: true, providerExecuted: true },
      { type: 'tool-approval-request', approvalId: toolCallId, toolCallId, approvalDescriptor: asked.question },
    ];
  }

  #answered(asked: Asked, actionType: string): readonly UIMessageChunk[] {
    const toolCallId = this.#idOf(asked);
    const approved = actionType !== deniesBy(asked.question);
    return [
      { type: 'tool-approval-response', approvalId: toolCallId, approved },
      approved
        ? { type: 'tool-output-available', toolCallId, output: { actionType }, dynamic: true }
        : { type: 'tool-output-denied', toolCallId },
    ];
  }

  /** A question that is still open can be answered no more. */
  #ended(): readonly UIMessageChunk[] {
    const open = this.#asked.filter(({ actionType }) => actionType === undefined);
    const errors = open.map((asked): UIMessageChunk => {
      const errorText = 'The turn ended without an answer.';
      return { type: 'tool-output-error', toolCallId: this.#idOf(asked), errorText, dynamic: true };
    });
    return [...this.#close(), ...errors, { type: 'finish-step' }];
  }

  #idOf({ eventId, question: { suspendId } }: Asked): string {
    return questionId({ taskId: this.taskId, eventId, suspendId });
  }
}

/** Whether it is a question for a person. Others are answered by programs: the turn waits and goes on. */
export const asks = (event: TaskEvent): event is TaskEvent & { type: 'TASK_SUSPENDED' } =>
  event.type === 'TASK_SUSPENDED' && event.payload.kind === 'USER_ACTION_REQUIRED';

/** The same with one delta in the place of several that follow each other. */
function joined(chunks: readonly UIMessageChunk[]): readonly UIMessageChunk[] {
  const made: UIMessageChunk[] = [];
  for (const chunk of chunks) {
    const last = made.at(-1);
    if (last && 'delta' in chunk && 'delta' in last && last.id === chunk.id)
      made[made.length - 1] = { ...last, delta: last.delta + chunk.delta };
    else made.push(chunk);
  }
  return made;
}
