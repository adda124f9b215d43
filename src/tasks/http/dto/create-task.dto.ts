import { IsString, Matches, ValidateBy } from 'class-validator';
import { CLIENT_REQUEST_ID, clientRequestIdFrom, patternOf, TASK_TYPE } from '#protocol/ids.js';
import { JsonObjectText, ReadAs } from '../../../http/body-shape.js';
import { JsonText } from '../../../json/json-text.js';
import { Optional } from '../../../http/optional.decorator.js';

export const A_TASK_TYPE = patternOf(TASK_TYPE);

/** In the form in which it is stored, if it has one. */
export const normalRequestId = <T>(sent: T) => (typeof sent === 'string' ? (clientRequestIdFrom(sent) ?? sent) : sent);

export const IsClientRequestId = () =>
  ValidateBy({
    name: 'isClientRequestId',
    validator: {
      validate: (value) => typeof value === 'string' && clientRequestIdFrom(value) === value,
      defaultMessage: () => `$property must be ${CLIENT_REQUEST_ID.title}`,
    },
  });

export class CreateTaskDto {
  @ReadAs(normalRequestId)
  @Optional()
  @IsClientRequestId()
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
