import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsBoolean,
  IsIn,
  IsInt,
  IsObject,
  IsString,
  Max,
  MaxLength,
  Min,
  MinLength,
  ValidateNested,
} from 'class-validator';
import { BULK_STATUSES, MAX_BULK_IDS, MAX_BULK_TASKS } from '#protocol/bulk.js';
import { SENT_TASK_ID, TASK_UUID, TASK_TYPE } from '#protocol/ids.js';
import { MAX_PRINCIPAL_LENGTH } from '#protocol/limits.js';
import type { TaskStatus } from '#protocol/snapshots.js';
import { Elements, ReadAs } from '../http/body-shape.js';
import { Fits } from '../http/fits.decorator.js';
import { Optional } from '../http/optional.decorator.js';
import { Timestamp } from '../http/timestamp.decorator.js';
import { IsClientRequestId, normalRequestId } from '../tasks/http/dto/create-task.dto.js';

export class BulkFilterDto {
  @Optional()
  @IsIn(BULK_STATUSES)
  status?: TaskStatus;

  @Optional()
  @IsString()
  @Fits(TASK_TYPE)
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
  @Fits(SENT_TASK_ID, { each: true })
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
  @Fits(TASK_UUID)
  bulkId?: string;
}
