import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsBoolean,
  IsIn,
  IsInt,
  IsObject,
  IsString,
  Matches,
  Max,
  MaxLength,
  Min,
  MinLength,
  ValidateNested,
} from 'class-validator';
import { BULK_STATUSES, MAX_BULK_IDS, MAX_BULK_TASKS } from '#protocol/bulk.js';
import { patternOf, SENT_TASK_ID, TASK_UUID } from '#protocol/ids.js';
import { MAX_PRINCIPAL_LENGTH } from '#protocol/limits.js';
import type { TaskStatus } from '#protocol/snapshots.js';
import { Elements, ReadAs } from '../http/body-shape.js';
import { Optional } from '../http/optional.decorator.js';
import { Timestamp } from '../http/timestamp.decorator.js';
import { A_TASK_TYPE, IsClientRequestId, normalRequestId } from '../tasks/http/dto/create-task.dto.js';

const A_TASK_ID = patternOf(SENT_TASK_ID);
const A_UUID = patternOf(TASK_UUID);

export class BulkFilterDto {
  @Optional()
  @IsIn(BULK_STATUSES)
  status?: TaskStatus;

  @Optional()
  @IsString()
  @Matches(A_TASK_TYPE)
  taskType?: string;

  @Optional()
  @IsBoolean()
  suspended?: boolean;
}

export class StartBulkDto {
  @ReadAs(normalRequestId)
  @Optional()
  @IsClientRequestId()
  clientRequestId?: string;

  @Optional()
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_BULK_IDS)
  @Matches(A_TASK_ID, { each: true })
  ids?: string[];

  @Optional()
  @IsObject()
  @ValidateNested()
  @Elements(() => BulkFilterDto)
  filter?: BulkFilterDto;

  @Optional()
  @Timestamp()
  createdBefore?: string;

  @Optional()
  @IsInt()
  @Min(1)
  @Max(MAX_BULK_TASKS)
  max?: number;

  @Optional()
  @IsString()
  @MinLength(1)
  @MaxLength(MAX_PRINCIPAL_LENGTH)
  owner?: string;

  @Optional()
  @IsString()
  @MaxLength(MAX_PRINCIPAL_LENGTH)
  tenant?: string;

  @IsBoolean()
  dryRun: boolean = false;

  @Optional()
  @IsString()
  @Matches(A_UUID)
  bulkId?: string;
}
