import { TASK_TYPE } from '#protocol/ids.js';
import { Transform } from 'class-transformer';
import { IsBoolean, IsIn, IsString, Matches, MaxLength, MinLength } from 'class-validator';
import { LIST_LIMIT, MAX_LIST_CURSOR_LENGTH, MAX_NAME_LENGTH } from '#protocol/limits.js';
import { TASK_STATUSES, type TaskStatus } from '#protocol/snapshots.js';
import { Shallow } from '../../../http/body-shape.js';
import { Fits } from '../../../http/fits.decorator.js';
import { Optional } from '../../../http/optional.decorator.js';
import { booleanText } from '../../../http/query-text.js';
import { ScopeQueryDto } from './scope.dto.js';
import { IsTags, jsonIn } from '../../../http/tags.js';
import { Timestamp } from '../../../http/timestamp.decorator.js';
import { IsClientRequestId, normalRequestId } from './create-task.dto.js';
import { PageCursor, PageLimit } from '../../../http/paging.decorators.js';

/** PostgreSQL refuses U+0000 and half characters. */
const STORABLE = /^(?:(?!\0)\P{Surrogate})*$/u;

export class ListTasksDto extends ScopeQueryDto {
  @Optional()
  @IsIn(TASK_STATUSES)
  status?: TaskStatus;

  @Optional()
  @IsString()
  @Fits(TASK_TYPE)
  taskType?: string;

  @Optional()
  @IsString()
  @Fits(TASK_TYPE)
  taskTypePrefix?: string;

  @Optional()
  @IsString()
  @MinLength(1)
  @MaxLength(MAX_NAME_LENGTH)
  @Matches(STORABLE)
  failureCode?: string;

  @Optional()
  @Shallow()
  @IsTags()
  @Transform(({ value }: { value: unknown }) => jsonIn(value))
  tags?: Record<string, string>;

  @Transform(({ value }) => normalRequestId(value))
  @Optional()
  @IsClientRequestId()
  clientRequestId?: string;

  @Optional()
  @IsBoolean()
  @Transform(booleanText)
  suspended?: boolean;

  @Optional()
  @Timestamp()
  createdAfter?: string;

  @Optional()
  @Timestamp()
  createdBefore?: string;

  @PageLimit(LIST_LIMIT)
  limit: number = LIST_LIMIT.default;

  @PageCursor(MAX_LIST_CURSOR_LENGTH)
  cursor?: string;
}
