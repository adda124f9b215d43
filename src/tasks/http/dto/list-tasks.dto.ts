import { TASK_TYPE } from '#protocol/ids.js';
import { Transform } from 'class-transformer';
import { IsBoolean, IsIn, IsInt, IsString, Max, MaxLength, Min } from 'class-validator';
import { LIST_LIMIT, MAX_LIST_CURSOR_LENGTH } from '#protocol/limits.js';
import { TASK_STATUSES, type TaskStatus } from '#protocol/snapshots.js';
import { Fits } from '../../../http/fits.decorator.js';
import { Optional } from '../../../http/optional.decorator.js';
import { integerText } from '../../../http/query-text.js';
import { Timestamp } from '../../../http/timestamp.decorator.js';
import { IsClientRequestId, normalRequestId } from './create-task.dto.js';

export class ListTasksDto {
  @Optional()
  @IsIn(TASK_STATUSES)
  status?: TaskStatus;

  @Optional()
  @IsString()
  @Fits(TASK_TYPE)
  taskType?: string;

  @Transform(({ value }) => normalRequestId(value))
  @Optional()
  @IsClientRequestId()
  clientRequestId?: string;

  @Optional()
  @IsBoolean()
  @Transform(({ value }) => (value === 'true' ? true : value === 'false' ? false : value))
  suspended?: boolean;

  @Optional()
  @Timestamp()
  createdAfter?: string;

  @Optional()
  @Timestamp()
  createdBefore?: string;

  @Transform(integerText)
  @IsInt()
  @Min(LIST_LIMIT.minimum)
  @Max(LIST_LIMIT.maximum)
  limit: number = LIST_LIMIT.default;

  @Optional()
  @IsString()
  @MaxLength(MAX_LIST_CURSOR_LENGTH)
  cursor?: string;
}
