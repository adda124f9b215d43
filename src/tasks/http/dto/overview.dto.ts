import { IsIn } from 'class-validator';
import { LIST_LIMIT, MAX_LIST_CURSOR_LENGTH } from '#protocol/limits.js';
import { PAGE_LIMIT, STUCK_KINDS, STUCK_LIMIT, type StuckKind } from '#protocol/operators.js';
import { Optional } from '../../../http/optional.decorator.js';
import { ScopeQueryDto } from './scope.dto.js';
import { PageCursor, PageLimit } from '../../../http/paging.decorators.js';

export class StuckTasksDto extends ScopeQueryDto {
  @Optional()
  @IsIn(STUCK_KINDS)
  kind?: StuckKind;

  @PageLimit(STUCK_LIMIT)
  limit: number = STUCK_LIMIT.default;
}

export class ListQuestionsDto extends ScopeQueryDto {
  @PageLimit(LIST_LIMIT)
  limit: number = LIST_LIMIT.default;

  @PageCursor(MAX_LIST_CURSOR_LENGTH)
  cursor?: string;
}

export class ListTypesDto {
  @PageLimit(PAGE_LIMIT)
  limit: number = PAGE_LIMIT.default;

  @PageCursor(MAX_LIST_CURSOR_LENGTH)
  cursor?: string;
}
