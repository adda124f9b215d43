import { Transform } from 'class-transformer';
import { IsInt, IsString, Max, MaxLength, Min } from 'class-validator';
import { MAX_SCHEDULE_CURSOR_LENGTH, PAGE_LIMIT } from '#protocol/operators.js';
import { Optional } from '../http/optional.decorator.js';
import { integerText } from '../http/query-text.js';
import { ScopeQueryDto } from '../tasks/http/dto/scope.dto.js';

export class ListSchedulesDto extends ScopeQueryDto {
  @Transform(integerText)
  @IsInt()
  @Min(PAGE_LIMIT.minimum)
  @Max(PAGE_LIMIT.maximum)
  limit: number = PAGE_LIMIT.default;

  @Optional()
  @IsString()
  @MaxLength(MAX_SCHEDULE_CURSOR_LENGTH)
  cursor?: string;
}
