import { Transform } from 'class-transformer';
import { IsIn, IsInt, IsString, Max, MaxLength, Min } from 'class-validator';
import { LIST_LIMIT, MAX_LIST_CURSOR_LENGTH } from '#protocol/limits.js';
import { PAGE_LIMIT, STUCK_KINDS, STUCK_LIMIT, type StuckKind } from '#protocol/operators.js';
import { Optional } from '../../../http/optional.decorator.js';
import { integerText } from '../../../http/query-text.js';
import { ScopeQueryDto } from './scope.dto.js';

export class StuckTasksDto extends ScopeQueryDto {
  @Optional()
  @IsIn(STUCK_KINDS)
  kind?: StuckKind;

  @Transform(integerText)
  @IsInt()
  @Min(STUCK_LIMIT.minimum)
  @Max(STUCK_LIMIT.maximum)
  limit: number = STUCK_LIMIT.default;
}

export class ListQuestionsDto extends ScopeQueryDto {
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

export class ListTypesDto {
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
