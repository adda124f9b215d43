import { IsString, MaxLength, MinLength } from 'class-validator';
import { MAX_CANCEL_REASON_LENGTH } from '#protocol/limits.js';
import { Optional } from '../../../http/optional.decorator.js';

export class CancelTaskDto {
  @Optional()
  @IsString()
  @MinLength(1)
  @MaxLength(MAX_CANCEL_REASON_LENGTH)
  reason?: string;
}
