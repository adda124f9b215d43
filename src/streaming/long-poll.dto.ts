import { Transform } from 'class-transformer';
import { IsIn, IsInt, IsString, Max, Min } from 'class-validator';
import { type Beginning, BEGINNINGS } from '#protocol/requests.js';
import { MAX_EVENTS, POLL_WAIT_MS } from '#protocol/limits.js';
import { Optional } from '../http/optional.decorator.js';
import { integerText } from '../http/query-text.js';

export class LongPollDto {
  @Optional()
  @IsString()
  afterEventId?: string;

  @Optional()
  @IsString()
  beforeEventId?: string;

  @Optional()
  @Transform(integerText)
  @IsInt()
  @Min(POLL_WAIT_MS.minimum)
  @Max(POLL_WAIT_MS.maximum)
  waitTimeoutMs?: number;

  @Transform(integerText)
  @IsInt()
  @Min(MAX_EVENTS.minimum)
  @Max(MAX_EVENTS.maximum)
  maxEvents: number = MAX_EVENTS.default;
}

export class StreamQueryDto {
  @Optional()
  @IsString()
  lastEventId?: string;

  /** A follow token, which the guard has judged. */
  @Optional()
  @IsString()
  token?: string;

  @Optional()
  @IsIn(BEGINNINGS)
  from?: Beginning;
}
