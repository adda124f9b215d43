import { IsString, Matches } from 'class-validator';
import { CLIENT_ID, patternOf, TASK_TYPE } from '#protocol/ids.js';
import { JsonObjectText } from '../../../http/body-shape.js';
import { JsonText } from '../../../json/json-text.js';
import { Optional } from '../../../http/optional.decorator.js';

export const CLIENT_REQUEST_ID = patternOf(CLIENT_ID);
export const A_TASK_TYPE = patternOf(TASK_TYPE);

export class CreateTaskDto {
  @Optional()
  @IsString()
  @Matches(CLIENT_REQUEST_ID, { message: `must be ${CLIENT_ID.title}` })
  clientRequestId?: string;

  @IsString()
  @Matches(A_TASK_TYPE, { message: `must be ${TASK_TYPE.title}` })
  taskType!: string;

  @Optional()
  @JsonObjectText()
  input?: JsonText;

  @Optional()
  @JsonObjectText()
  metadata?: JsonText;
}
