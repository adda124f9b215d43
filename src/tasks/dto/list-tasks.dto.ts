import { Transform } from 'class-transformer';
import { IsBoolean, IsDate, IsIn, IsInt, IsString, Matches, Max, MaxLength, Min } from 'class-validator';
import { Optional } from '../../http/optional.decorator.js';
import { ApiProperty } from '@nestjs/swagger';
import { integerText } from '../../http/query-text.js';
import { TASK_STATUSES, type TaskStatus } from '../domain/task.js';

/** RFC 3339, with seconds and an offset. */
const TIMESTAMP = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;

const dateText = ({ value }: { value: unknown }) =>
  typeof value === 'string' && TIMESTAMP.test(value) ? new Date(value) : undefined;

export class ListTasksDto {
  @Optional()
  @IsIn(TASK_STATUSES)
  @ApiProperty({ enum: TASK_STATUSES, required: false })
  status?: TaskStatus;

  @Optional()
  @IsString()
  @Matches(/^[A-Za-z0-9._:-]{1,128}$/)
  taskType?: string;

  /** Only tasks with, or without, an open question. */
  @Optional()
  @IsBoolean()
  @Transform(({ value }) => (value === 'true' ? true : value === 'false' ? false : value))
  suspended?: boolean;

  @Transform((given) => (given.value === undefined ? undefined : (dateText(given) ?? given.value)))
  @Optional()
  @IsDate()
  @ApiProperty({ type: String, format: 'date-time', required: false })
  createdAfter?: Date;

  @Transform((given) => (given.value === undefined ? undefined : (dateText(given) ?? given.value)))
  @Optional()
  @IsDate()
  @ApiProperty({ type: String, format: 'date-time', required: false })
  createdBefore?: Date;

  @Transform(integerText)
  @IsInt()
  @Min(1)
  @Max(100)
  @ApiProperty({ type: 'integer', minimum: 1, maximum: 100, default: 50, required: false })
  limit: number = 50;

  /** `nextCursor` of the page before. */
  @Optional()
  @IsString()
  @MaxLength(200)
  cursor?: string;
}
