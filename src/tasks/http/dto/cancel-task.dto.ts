import { IsString, MaxLength } from 'class-validator';
import { MAX_CANCEL_REASON_LENGTH } from '#protocol/limits.js';
import { ReadAs } from '../../../http/body-shape.js';
import { Optional } from '../../../http/optional.decorator.js';

export class CancelTaskDto {
  /** Clients send null or an empty text for no reason. */
  @ReadAs((sent) => (sent === null || sent === '' ? undefined : sent))
  @Optional()
  @IsString()
  @MaxLength(MAX_CANCEL_REASON_LENGTH)
  reason?: string;
}
