import { Transform } from 'class-transformer';
import { IsBoolean, IsIn, IsInt, IsString, Matches, Max, MaxLength, Min } from 'class-validator';
import { Optional } from '../../http/optional.decorator.js';
import { ApiProperty } from '@nestjs/swagger';
import { integerText } from '../../http/query-text.js';
import { Timestamp } from '../../http/timestamp.decorator.js';
import { TASK_STATUSES, type TaskStatus } from '../domain/task.js';

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

  @Optional()
  @Timestamp()
  @ApiProperty({ format: 'date-time', required: false })
  createdAfter?: string;

  @Optional()
  @Timestamp()
  @ApiProperty({ format: 'date-time', required: false })
  createdBefore?: string;

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
