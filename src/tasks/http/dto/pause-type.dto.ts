import { IsString, MaxLength, MinLength } from 'class-validator';
import { MAX_PAUSE_REASON_LENGTH } from '#protocol/limits.js';
import { Optional } from '../../../http/optional.decorator.js';

export class PauseTypeDto {
  @Optional()
  @IsString()
  @MinLength(1)
  @MaxLength(MAX_PAUSE_REASON_LENGTH)
  reason?: string;
}
