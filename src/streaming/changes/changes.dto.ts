import { Transform } from 'class-transformer';
import { IsBoolean, IsIn, IsInt, IsString, Matches, Max, MaxLength, Min, MinLength } from 'class-validator';
import { patternOf, TASK_TYPE } from '#protocol/ids.js';
import { MAX_CHANGES_CURSOR_LENGTH, MAX_PRINCIPAL_LENGTH, POLL_WAIT_MS } from '#protocol/limits.js';
import { TASK_STATUSES, type TaskStatus } from '#protocol/snapshots.js';
import { Optional } from '../../http/optional.decorator.js';
import { integerText } from '../../http/query-text.js';
import { IsTags, jsonIn } from './tags.js';

const A_TASK_TYPE = patternOf(TASK_TYPE);
const booleanText = ({ value }: { value: unknown }) => (value === 'true' ? true : value === 'false' ? false : value);

/** What a feed shows, in a query or a frame. */
class ChangesDto {
  @Optional()
  @IsIn(TASK_STATUSES)
  status?: TaskStatus;

  @Optional()
  @IsBoolean()
  @Transform(booleanText)
  suspended?: boolean;

  @Optional()
  @IsString()
  @Matches(A_TASK_TYPE)
  taskType?: string;

  @Optional()
  @Transform(({ value }: { value: unknown }) => jsonIn(value))
  @IsTags()
  tags?: Record<string, string>;

  @Optional()
  @IsString()
  @MinLength(1)
  @MaxLength(MAX_PRINCIPAL_LENGTH)
  owner?: string;

  @Optional()
  @IsString()
  @MaxLength(MAX_PRINCIPAL_LENGTH)
  tenant?: string;

  @Optional()
  @IsBoolean()
  @Transform(booleanText)
  all?: boolean;
}

export class PollChangesDto extends ChangesDto {
  @Optional()
  @IsString()
  @MaxLength(MAX_CHANGES_CURSOR_LENGTH)
  after?: string;

  @Transform(integerText)
  @IsInt()
  @Min(POLL_WAIT_MS.minimum)
  @Max(POLL_WAIT_MS.maximum)
  waitTimeoutMs: number = POLL_WAIT_MS.default;
}

export class StreamChangesDto extends ChangesDto {
  /** A follow token, which the guard has judged. */
  @Optional()
  @IsString()
  token?: string;

  @Optional()
  @IsString()
  @MaxLength(MAX_CHANGES_CURSOR_LENGTH)
  after?: string;
}
