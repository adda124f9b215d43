import { MAX_SCHEDULE_CURSOR_LENGTH, PAGE_LIMIT } from '#protocol/operators.js';
import { ScopeQueryDto } from '../tasks/http/dto/scope.dto.js';
import { PageCursor, PageLimit } from '../http/paging.decorators.js';

export class ListSchedulesDto extends ScopeQueryDto {
  @PageLimit(PAGE_LIMIT)
  limit: number = PAGE_LIMIT.default;

  @PageCursor(MAX_SCHEDULE_CURSOR_LENGTH)
  cursor?: string;
}
