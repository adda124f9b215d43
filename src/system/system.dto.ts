import { MAX_LIST_CURSOR_LENGTH } from '#protocol/limits.js';
import { LOG_LIMIT, PAGE_LIMIT } from '#protocol/operators.js';
import { PageCursor, PageLimit } from '../http/paging.decorators.js';

export class ListWorkersDto {
  @PageLimit(PAGE_LIMIT)
  limit: number = PAGE_LIMIT.default;

  @PageCursor(MAX_LIST_CURSOR_LENGTH)
  cursor?: string;
}

export class ReadLogDto {
  @PageCursor(MAX_LIST_CURSOR_LENGTH)
  after?: string;

  @PageLimit(LOG_LIMIT)
  limit: number = LOG_LIMIT.default;
}
