import type { AskedQuestion } from '@taskbridge/client';
import type { UIMessage } from 'ai';

/** What the id of an approval says. */
interface QuestionName {
  readonly taskId: string;
  /** Its event: a message that shows the question has all before it. */
  readonly eventId: number;
  readonly suspendId: string;
}

/** The answer of a person to a question. */
export interface Answer extends QuestionName {
  readonly actionType: string;
  readonly payload: object;
}

export const questionId = ({ taskId, eventId, suspendId }: QuestionName): string => `${taskId}/${eventId}/${suspendId}`;

/** The action of an approval: the first that the question allows. */
const approvesBy = ({ allowedActions }: AskedQuestion): string => allowedActions[0] as string;

/** The action of a denial: the last that the question allows. Undefined where it allows one alone. */
export const deniesBy = ({ allowedActions }: AskedQuestion): string | undefined => allowedActions.slice(1).at(-1);

/** The answer in a message of the assistant, where a person has just given one. @throws on a denial that is not allowed */
export function answerIn(message: UIMessage | undefined): Answer | undefined {
  if (message?.role !== 'assistant') return undefined;
  for (const part of message.parts) {
    if (part.type !== 'dynamic-tool' || part.state !== 'approval-responded') continue;
    const { id, approved, reason, descriptor } = part.approval;
    const [taskId, eventId, ...rest] = id.split('/');
    if (taskId !== message.id || rest.length === 0) continue;
    const question = descriptor as AskedQuestion;
    const actionType = approved ? approvesBy(question) : deniesBy(question);
    if (actionType === undefined) throw new Error(`${part.toolName} allows one action: it cannot be denied.`);
    const payload = reason === undefined ? {} : { reason };
    return { taskId, eventId: Number(eventId), suspendId: rest.join('/'), actionType, payload };
  }
  return undefined;
}
