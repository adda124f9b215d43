import { IsInt, IsString, Max, Min, ValidateBy } from 'class-validator';
import { CLIENT_REQUEST_ID, clientRequestIdFrom, TASK_TYPE } from '#protocol/ids.js';
import { MAX_ATTEMPTS, MAX_DELAY_SECONDS, PRIORITY } from '#protocol/limits.js';
import { JsonObjectText, ReadAs } from '../../../http/body-shape.js';
import { JsonText } from '../../../json/json-text.js';
import { Fits } from '../../../http/fits.decorator.js';
import { Optional } from '../../../http/optional.decorator.js';
import { Timestamp } from '../../../http/timestamp.decorator.js';

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
  @Fits(TASK_TYPE)
  taskType!: string;

  @Optional()
  @JsonObjectText()
  input?: JsonText;

  @Optional()
  @JsonObjectText()
  metadata?: JsonText;

  @Optional()
  @Timestamp()
  startAfter?: string;

  @Optional()
  @IsInt()
  @Min(0)
  @Max(MAX_DELAY_SECONDS)
  delaySeconds?: number;

  @Optional()
  @IsInt()
  @Min(PRIORITY.minimum)
  @Max(PRIORITY.maximum)
  priority?: number;

  @Optional()
  @Timestamp()
  deadline?: string;

  @Optional()
  @IsInt()
  @Min(MAX_ATTEMPTS.minimum)
  @Max(MAX_ATTEMPTS.maximum)
  maxAttempts?: number;
}
