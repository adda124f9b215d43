import { IsIn, IsString, MaxLength, MinLength, ValidateIf } from 'class-validator';
import { MAX_SHOWN_TOKEN_LENGTH } from '#protocol/frames.js';
import { type Beginning, BEGINNINGS } from '#protocol/requests.js';
import { MAX_CURSOR_LENGTH, TASK_ID, taskIdFrom } from '#protocol/ids.js';
import { MAX_REF_LENGTH } from '#protocol/limits.js';
import { ReadAs } from '../../http/body-shape.js';
import { Fits } from '../../http/fits.decorator.js';
import { Optional } from '../../http/optional.decorator.js';

/** A connection that names a task in two spellings follows it once. */
const AsStored = () => ReadAs((sent) => (typeof sent === 'string' ? taskIdFrom(sent) : sent));

/** Client → server: follow a task from a cursor. `null` and absent mean from the start. */
export class SubscribeFrameDto {
  @IsIn(['subscribe'])
  action!: 'subscribe';

  @AsStored()
  @Fits(TASK_ID)
  taskId!: string;

  @ValidateIf((_, value) => value !== undefined && value !== null)
  @IsString()
  @MaxLength(MAX_CURSOR_LENGTH)
  lastEventId?: string | null;

  /** With the multiplex subprotocol: where to begin without a cursor. */
  @Optional()
  @IsIn(BEGINNINGS)
  from?: Beginning;

  /** With the multiplex subprotocol: what an error about this frame will repeat. */
  @Optional()
  @IsString()
  @MaxLength(MAX_REF_LENGTH)
  ref?: string;
}

/** Client → server, with the multiplex subprotocol: follow a task no longer. */
export class UnsubscribeFrameDto {
  @IsIn(['unsubscribe'])
  action!: 'unsubscribe';

  @AsStored()
  @Fits(TASK_ID)
  taskId!: string;
}

/** Client → server, with the multiplex subprotocol: newer credentials of the same principal. */
export class AuthenticateFrameDto {
  @IsIn(['authenticate'])
  action!: 'authenticate';

  @IsString()
  @MinLength(1)
  @MaxLength(MAX_SHOWN_TOKEN_LENGTH)
  token!: string;
}
