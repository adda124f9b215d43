import { Transform } from 'class-transformer';
import { IsInt, IsString, Max, MaxLength, Min } from 'class-validator';
import { MAX_LIST_CURSOR_LENGTH } from '#protocol/limits.js';
import { LOG_LIMIT, PAGE_LIMIT } from '#protocol/operators.js';
import { Optional } from '../http/optional.decorator.js';
import { integerText } from '../http/query-text.js';

export class ListWorkersDto {
  @Transform(integerText)
  @IsInt()
  @Min(PAGE_LIMIT.minimum)
  @Max(PAGE_LIMIT.maximum)
  limit: number = PAGE_LIMIT.default;

  @Optional()
  @IsString()
  @MaxLength(MAX_LIST_CURSOR_LENGTH)
  cursor?: string;
}

export class ReadLogDto {
  @Optional()
  @IsString()
  @MaxLength(MAX_LIST_CURSOR_LENGTH)
  after?: string;

  @Transform(integerText)
  @IsInt()
  @Min(LOG_LIMIT.minimum)
  @Max(LOG_LIMIT.maximum)
  limit: number = LOG_LIMIT.default;
}
