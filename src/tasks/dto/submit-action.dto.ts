import { ApiProperty } from '@nestjs/swagger';
import { IsString, Matches, MaxLength, MinLength } from 'class-validator';
import { JsonObjectText } from '../../http/body-shape.js';
import { JsonText } from '../../http/json-text.js';
import { Optional } from '../../http/optional.decorator.js';
import { ACTION_STATUSES, type ActionStatus } from '../domain/judge-action.js';
import { CLIENT_REQUEST_ID } from './create-task.dto.js';

export class SubmitActionDto {
  /** Names the action: a repeat with the same id is the same action. */
  @IsString()
  @Matches(CLIENT_REQUEST_ID, { message: 'must be 1 to 255 visible ASCII characters' })
  clientActionId!: string;

  /** From TASK_SUSPENDED. */
  @IsString()
  @MinLength(1)
  @MaxLength(255)
  suspendId!: string;

  /** One of the question's `allowedActions`. */
  @IsString()
  @MinLength(1)
  @MaxLength(255)
  actionType!: string;

  /** What the handler gets. */
  @Optional()
  @JsonObjectText({ required: false })
  payload?: JsonText;

  @Optional()
  @JsonObjectText({ required: false })
  metadata?: JsonText;
}

export class ActionResultDto {
  taskId!: string;
  suspendId!: string;
  clientActionId!: string;
  @ApiProperty({ enum: ACTION_STATUSES })
  status!: ActionStatus;
}
