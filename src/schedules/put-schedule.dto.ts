import { TASK_TYPE } from '#protocol/ids.js';
import { IsBoolean, IsIn, IsInt, IsString, Max, MaxLength, Min, MinLength } from 'class-validator';
import { MAX_CATCH_UP, MAX_CRON_LENGTH, MAX_TIME_ZONE_LENGTH, type Overlap, OVERLAPS } from '#protocol/schedules.js';
import { JsonObjectText } from '../http/body-shape.js';
import { Fits } from '../http/fits.decorator.js';
import { Optional } from '../http/optional.decorator.js';
import { JsonText } from '../json/json-text.js';

export class PutScheduleDto {
  @IsString()
  @MinLength(1)
  @MaxLength(MAX_CRON_LENGTH)
  cron!: string;

  @IsString()
  @MinLength(1)
  @MaxLength(MAX_TIME_ZONE_LENGTH)
  timeZone!: string;

  @IsString()
  @Fits(TASK_TYPE)
  taskType!: string;

  @Optional()
  @JsonObjectText()
  input?: JsonText;

  @Optional()
  @JsonObjectText()
  metadata?: JsonText;

  @IsIn(OVERLAPS)
  overlap: Overlap = 'skip';

  @IsInt()
  @Min(0)
  @Max(MAX_CATCH_UP)
  catchUp: number = 0;

  @IsBoolean()
  paused: boolean = false;
}
