import { IsString, MaxLength, MinLength } from 'class-validator';
import { CLIENT_ACTION_ID } from '#protocol/ids.js';
import { MAX_NAME_LENGTH } from '#protocol/limits.js';
import { JsonObjectText } from '../../../http/body-shape.js';
import { JsonText } from '../../../json/json-text.js';
import { Fits } from '../../../http/fits.decorator.js';
import { Optional } from '../../../http/optional.decorator.js';

export class SubmitActionDto {
  @IsString()
  @Fits(CLIENT_ACTION_ID)
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
