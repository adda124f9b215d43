import { IsIn, IsString, Matches, MaxLength, ValidateIf } from 'class-validator';
import { Optional } from '../../http/optional.decorator.js';

const TASK_ID = /^[a-zA-Z0-9][a-zA-Z0-9._@-]{0,254}$/;

/** Client → server: follow a task from a cursor. `null` and absent mean from the start. */
export class SubscribeFrameDto {
  @IsIn(['subscribe'])
  action!: 'subscribe';

  @Matches(TASK_ID)
  taskId!: string;

  @ValidateIf((_, value) => value !== undefined && value !== null)
  @IsString()
  @MaxLength(255)
  lastEventId?: string | null;

  /** With the multiplex subprotocol: what an error about this frame will repeat. */
  @Optional()
  @IsString()
  @MaxLength(255)
  ref?: string;
}

/** Client → server, with the multiplex subprotocol: follow a task no longer. */
export class UnsubscribeFrameDto {
  @IsIn(['unsubscribe'])
  action!: 'unsubscribe';

  @Matches(TASK_ID)
  taskId!: string;
}
