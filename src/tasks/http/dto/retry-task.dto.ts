import { IsBoolean } from 'class-validator';
import { JsonObjectText, ReadAs } from '../../../http/body-shape.js';
import { Optional } from '../../../http/optional.decorator.js';
import { JsonText } from '../../../json/json-text.js';
import { IsClientRequestId, normalRequestId } from './create-task.dto.js';

export class RetryTaskDto {
  @ReadAs(normalRequestId)
  @IsClientRequestId()
  clientRequestId!: string;

  @Optional()
  @JsonObjectText()
  input?: JsonText;

  @Optional()
  @IsBoolean()
  keepSteps?: boolean;
}
