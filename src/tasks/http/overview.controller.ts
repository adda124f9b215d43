import { Controller, Get, Header, Query, type StreamableFile } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { TaskCounts } from '#protocol/operators.js';
import type { AuthContext } from '../../auth/auth-context.js';
import { Caller, Requires } from '../../auth/route.decorators.js';
import { ApiErrors } from '../../http/api-errors.decorator.js';
import { answers, TakesQuery } from '../../http/api-schemas.js';
import { around, inPieces } from '../../http/json-pieces.js';
import { ScopeQueryDto } from './dto/scope.dto.js';
import { JsonText, writeObject } from '../../json/json-text.js';
import { CountTasks } from '../count-tasks.js';
import { FindStuck, type StuckTask } from '../find-stuck.js';
import { ListQuestions } from '../list-questions.js';
import type { OpenQuestion } from '../store/open-questions.js';
import { ListQuestionsDto, StuckTasksDto } from './dto/overview.dto.js';
import { taskSummary } from './dto/task-snapshot.js';

const JSON_TYPE = Header('Content-Type', 'application/json; charset=utf-8');
const NOT_KEPT = Header('Cache-Control', 'no-store');

/** Many tasks at a glance. */
@ApiTags('operators')
@ApiErrors(400, 401, 403, 406, 503)
@Controller('api/v1')
export class OverviewController {
  constructor(
    private readonly countTasks: CountTasks,
    private readonly findStuck: FindStuck,
    private readonly listQuestions: ListQuestions,
  ) {}

  @Get('tasks/counts')
  @Requires('tasks:read')
  @NOT_KEPT
  @ApiOperation({ operationId: 'countTasks', summary: 'Count tasks by status and by type' })
  @TakesQuery('countTasks')
  @ApiOkResponse(answers('TaskCounts'))
  count(@Caller() caller: AuthContext, @Query() query: ScopeQueryDto): Promise<TaskCounts> {
    return this.countTasks.execute(caller, query);
  }

  @Get('tasks/stuck')
  @Requires('tasks:admin')
  @NOT_KEPT
  @JSON_TYPE
  @ApiOperation({ operationId: 'listStuck', summary: 'Find tasks that do not go on, each with its reason' })
  @TakesQuery('listStuck')
  @ApiOkResponse(answers('StuckTasks'))
  async stuck(@Caller() caller: AuthContext, @Query() query: StuckTasksDto): Promise<string | StreamableFile> {
    const { items, hasMore } = await this.findStuck.execute(caller, query, query);
    return inPieces(around('{"items":[', items, stuckTask, `],"hasMore":${JSON.stringify(hasMore)}}`));
  }

  @Get('questions')
  @Requires('tasks:read')
  @NOT_KEPT
  @JSON_TYPE
  @ApiOperation({ operationId: 'listQuestions', summary: 'List open questions, oldest first' })
  @TakesQuery('listQuestions')
  @ApiOkResponse(answers('OpenQuestions'))
  async questions(@Caller() caller: AuthContext, @Query() query: ListQuestionsDto): Promise<string | StreamableFile> {
    const { items, nextCursor } = await this.listQuestions.execute(caller, query, query);
    return inPieces(around('{"items":[', items, openQuestion, `],"nextCursor":${JSON.stringify(nextCursor)}}`));
  }
}

function stuckTask({ kind, why, since, view }: StuckTask): string {
  return writeObject({ kind, why, since: since.toISOString(), task: new JsonText(taskSummary(view)) });
}

function openQuestion({ taskId, taskType, ownerId, tenantId, question, askedAt }: OpenQuestion): string {
  return writeObject({
    ...{ taskId, taskType, ownerId },
    ...(tenantId !== '' && { tenantId }),
    question,
    askedAt: askedAt.toISOString(),
  });
}
