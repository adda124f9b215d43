import { IsString, Matches, MaxLength, MinLength } from 'class-validator';
import { CLIENT_ACTION_ID, patternOf } from '#protocol/ids.js';
import { MAX_NAME_LENGTH } from '#protocol/limits.js';
import { JsonObjectText } from '../../../http/body-shape.js';
import { JsonText } from '../../../json/json-text.js';
import { Optional } from '../../../http/optional.decorator.js';

const A_CLIENT_ACTION_ID = patternOf(CLIENT_ACTION_ID);

export class SubmitActionDto {
  @IsString()
  @Matches(A_CLIENT_ACTION_ID, { message: `must be ${CLIENT_ACTION_ID.title}` })
  clientActionId!: string;

  @IsString()
  @MinLength(1)
  @MaxLength(MAX_NAME_LENGTH)
  suspendId!: string;

  @IsString()
  @MinLength(1)
  @MaxLength(MAX_NAME_LENGTH)
  actionType!: string;

  @Optional()
  @JsonObjectText()
  payload?: JsonText;

  @Optional()
  @JsonObjectText()
  metadata?: JsonText;
}
