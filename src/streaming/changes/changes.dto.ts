import { Transform } from 'class-transformer';
import { IsBoolean, IsIn, IsInt, IsString, Max, MaxLength, Min } from 'class-validator';
import { TASK_TYPE } from '#protocol/ids.js';
import { MAX_CHANGES_CURSOR_LENGTH, POLL_WAIT_MS } from '#protocol/limits.js';
import { TASK_STATUSES, type TaskStatus } from '#protocol/snapshots.js';
import { Shallow } from '../../http/body-shape.js';
import { Fits } from '../../http/fits.decorator.js';
import { Optional } from '../../http/optional.decorator.js';
import { booleanText, integerText } from '../../http/query-text.js';
import { ScopeDto } from '../../tasks/http/dto/scope.dto.js';
import { IsTags, jsonIn } from '../../http/tags.js';

/** What a feed shows, in a query or a frame. */
export class ChangesDto extends ScopeDto {
  @Optional()
  @IsIn(TASK_STATUSES)
  status?: TaskStatus;

  @Optional()
  @IsBoolean()
  suspended?: boolean;

  @Optional()
  @IsString()
  @Fits(TASK_TYPE)
  taskType?: string;

  @Optional()
  @Shallow()
  @IsTags()
  tags?: Record<string, string>;
}

/** The same in a query, where everything is text. */
class ChangesQueryDto extends ChangesDto {
  @Transform(booleanText)
  override suspended?: boolean;

  @Transform(({ value }: { value: unknown }) => jsonIn(value))
  override tags?: Record<string, string>;

  @Transform(booleanText)
  override all?: boolean;

  @Optional()
  @IsString()
  @MaxLength(MAX_CHANGES_CURSOR_LENGTH)
  after?: string;
}

export class PollChangesDto extends ChangesQueryDto {
  @Transform(integerText)
  @IsInt()
  @Min(POLL_WAIT_MS.minimum)
  @Max(POLL_WAIT_MS.maximum)
  waitTimeoutMs: number = POLL_WAIT_MS.default;
}

export class StreamChangesDto extends ChangesQueryDto {
  /** A follow token, which the guard has judged. */
  @Optional()
  @IsString()
  token?: string;
}
