import { IsString, Matches } from 'class-validator';
import { CLIENT_ID, patternOf, TASK_TYPE } from '#protocol/ids.js';
import { JsonObjectText } from '../../../http/body-shape.js';
import { JsonText } from '../../../json/json-text.js';
import { Optional } from '../../../http/optional.decorator.js';

export const CLIENT_REQUEST_ID = patternOf(CLIENT_ID);
export const A_TASK_TYPE = patternOf(TASK_TYPE);

export class CreateTaskDto {
  /**
   * Names the request: a repeat with the same id makes no second task. The `Idempotency-Key` header may stand in for it.
   * @example "order-4711"
   */
  @Optional()
  @IsString()
  @Matches(CLIENT_REQUEST_ID, { message: `must be ${CLIENT_ID.title}` })
  clientRequestId?: string;

  /**
   * What is to be done; the handler's name.
   * @example "demo.greet"
   */
  @IsString()
  @Matches(A_TASK_TYPE, { message: `must be ${TASK_TYPE.title}` })
  taskType!: string;

  /** What the handler gets. */
  @Optional()
  @JsonObjectText({ required: false })
  input?: JsonText;

  /** Kept with the task and shown in its snapshot; the handler may look at it. */
  @Optional()
  @JsonObjectText({ required: false })
  metadata?: JsonText;
}
