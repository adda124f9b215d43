import { IsString, Matches } from 'class-validator';
import { JsonObjectText } from '../../http/body-shape.js';
import { JsonText } from '../../http/json-text.js';
import { Optional } from '../../http/optional.decorator.js';

/** Visible ASCII, no spaces. */
export const CLIENT_REQUEST_ID = /^[\x21-\x7e]{1,255}$/;
const TASK_TYPE = /^[A-Za-z0-9._:-]{1,128}$/;

export class CreateTaskDto {
  /**
   * Names the request: a repeat with the same id makes no second task. The `Idempotency-Key` header may stand in for it.
   * @example "order-4711"
   */
  @Optional()
  @IsString()
  @Matches(CLIENT_REQUEST_ID, { message: 'must be 1 to 255 visible ASCII characters' })
  clientRequestId?: string;

  /**
   * What is to be done; the handler's name.
   * @example "demo.greet"
   */
  @IsString()
  @Matches(TASK_TYPE, { message: 'must be 1 to 128 characters of A-Z a-z 0-9 . _ : -' })
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
