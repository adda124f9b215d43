import {
  Body,
  Controller,
  Delete,
  Get,
  Header,
  HttpCode,
  Post,
  Query,
  Req,
  Res,
  StreamableFile,
  UseInterceptors,
} from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiResponse,
  ApiTags,
} from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { SCHEDULE_PREFIX } from '#protocol/schedules.js';
import type { ActionResult, Cancellation, TaskAccepted } from '#protocol/snapshots.js';
import type { AuthContext } from '../../auth/auth-context.js';
import { Caller, OpenToFollowTokens, Requires } from '../../auth/route.decorators.js';
import { ApiErrors } from '../../http/api-errors.decorator.js';
import { answers, Takes, TakesHeaders, TakesIds, TakesQuery } from '../../http/api-schemas.js';
import { hasVersion } from '../../http/entity-tag.js';
import { InvalidRequest, RequestValidationError } from '../../errors.js';
import { around, inPieces } from '../../http/json-pieces.js';
import type { Upload } from '../../uploads/receive-upload.js';
import { CancelTask } from '../cancel-task.js';
import { CancelTaskDto } from './dto/cancel-task.dto.js';
import { SubmitActionDto } from './dto/submit-action.dto.js';
import { RetryTaskDto } from './dto/retry-task.dto.js';
import { CreateTaskDto } from './dto/create-task.dto.js';
import { ReadTaskDto } from './dto/read-task.dto.js';
import { ListTasksDto } from './dto/list-tasks.dto.js';
import { taskSnapshot, taskSummary } from './dto/task-snapshot.js';
import { IdempotencyKey, type SentKey } from './idempotency-key.js';
import { EraseTasks } from '../erase-tasks.js';
import { RetryTask } from '../retry-task.js';
import { ListTasks } from '../list-tasks.js';
import { ReadOutput } from '../read-output.js';
import { ReadTask } from '../read-task.js';
import { SubmitAction } from '../submit-action.js';
import { type Submission, SubmitTask } from '../submit-task.js';
import type { Timing } from '../domain/plan.js';
import { TaskId } from '../../http/task-id.decorator.js';
import { Uploaded, UploadInterceptor } from './upload.interceptor.js';

const header = (name: string, description: string) => ({
  [name]: { description, schema: { type: 'string' as const } },
});
const LOCATION = header('Location', 'The task, relative to the address of the request.');
const REPLAYED = header('Idempotent-Replayed', '`true`');
const ETAG = header('ETag', 'The version of the task, for `If-None-Match`.');

@ApiTags('tasks')
@Controller('api/v1/tasks')
export class TasksController {
  constructor(
    private readonly submitTask: SubmitTask,
    private readonly readTask: ReadTask,
    private readonly readOutput: ReadOutput,
    private readonly listTasks: ListTasks,
    private readonly cancelTask: CancelTask,
    private readonly retryTask: RetryTask,
    private readonly eraseTasks: EraseTasks,
    private readonly submitAction: SubmitAction,
  ) {}

  @Post()
  @Requires('tasks:write')
  @UseInterceptors(UploadInterceptor)
  @ApiOperation({ operationId: 'createTask', summary: 'Create a task, once, however often the request is repeated' })
  @Takes('CreateTask')
  @TakesHeaders('Idempotency-Key')
  @ApiCreatedResponse({ ...answers('TaskAccepted', 'A new task'), headers: LOCATION })
  @ApiOkResponse({ ...answers('TaskAccepted', 'The task of an earlier, equal request'), headers: REPLAYED })
  @ApiErrors(400, 401, 403, 406, 409, 413, 415, 422, 429, 503)
  async create(
    @Caller() caller: AuthContext,
    @Body() body: CreateTaskDto,
    @IdempotencyKey() key: SentKey | undefined,
    @Uploaded() upload: Upload | undefined,
    @Req() request: Request,
    @Res({ passthrough: true }) response: Response,
  ): Promise<TaskAccepted> {
    const submitted = await this.submitTask.execute(caller, {
      ...requestNamedBy(body, key),
      taskType: body.taskType,
      ...(body.input && { input: body.input }),
      ...(body.metadata && { metadata: body.metadata }),
      timing: timingOf(body),
      ...(upload && { files: upload.files }),
      ...(upload?.maxOwnedBytes !== undefined && { maxOwnedBytes: upload.maxOwnedBytes }),
    });
    answered(response, submitted, locationOf(submitted.taskId, request.path));
    return submitted;
  }

  @Get()
  @Requires('tasks:read')
  @OpenToFollowTokens('read', { forOwner: true })
  @Header('Content-Type', 'application/json; charset=utf-8')
  @ApiOperation({ operationId: 'listTasks', summary: 'List your own tasks, or those of others, newest first' })
  @TakesQuery('listTasks')
  @ApiOkResponse(answers('TaskPage'))
  @ApiErrors(400, 401, 403, 406, 503)
  async list(@Caller() caller: AuthContext, @Query() query: ListTasksDto): Promise<string | StreamableFile> {
    const { limit, cursor, owner: _owner, tenant: _tenant, all: _all, ...filter } = query;
    const page = { limit, ...(cursor !== undefined && { cursor }) };
    const { items, nextCursor } = await this.listTasks.execute(caller, query, filter, page);
    return inPieces(around('{"items":[', items, taskSummary, `],"nextCursor":${JSON.stringify(nextCursor)}}`));
  }

  @Get(':taskId')
  @Requires('tasks:read')
  @OpenToFollowTokens('read')
  @Header('Content-Type', 'application/json; charset=utf-8')
  @ApiOperation({ operationId: 'readTask', summary: 'Read a task as it is now' })
  @TakesIds('taskId')
  @TakesQuery('readTask')
  @TakesHeaders('If-None-Match')
  @ApiOkResponse({ ...answers('TaskSnapshot', 'The task'), headers: ETAG })
  @ApiResponse({ status: 304, description: 'As If-None-Match has it' })
  @ApiErrors(400, 401, 403, 404, 406, 503)
  async read(
    @Caller() caller: AuthContext,
    @TaskId() taskId: string,
    @Query() query: ReadTaskDto,
    @Req() request: Request,
    @Res({ passthrough: true }) response: Response,
  ): Promise<string | undefined> {
    const view = await this.readTask.execute(caller, taskId);
    // The last number depends on a setting, too. Release 0.1.0 had two numbers, and showed less.
    // What a task waits for changes with time, without a write.
    const waits = view.waitingFor === null ? '' : `-${view.waitingFor}`;
    const etag = `"${view.headEventId}-${view.revision}-${view.attemptsLeft}${waits}"`;
    response.setHeader('ETag', etag);
    response.setHeader('Cache-Control', 'private, no-cache');
    if (hasVersion(request, etag)) {
      response.status(304);
      return undefined;
    }
    return taskSnapshot(view, query.include && (await this.readOutput.execute(view)));
  }

  @Delete(':taskId')
  @HttpCode(204)
  @Requires('tasks:write', 'tasks:operate')
  @ApiOperation({ operationId: 'eraseTask', summary: 'Erase a task with all that belongs to it' })
  @TakesIds('taskId')
  @ApiNoContentResponse({ description: 'It is gone' })
  @ApiErrors(400, 401, 403, 404, 406, 409, 503)
  erase(@Caller() caller: AuthContext, @TaskId() taskId: string): Promise<void> {
    return this.eraseTasks.one(caller, taskId);
  }

  @Post(':taskId/cancel')
  @HttpCode(202)
  @Requires('tasks:write', 'tasks:operate')
  @OpenToFollowTokens('cancel')
  @ApiOperation({ operationId: 'cancelTask', summary: 'Ask a task to end' })
  @TakesIds('taskId')
  @Takes('CancelTask', { required: false })
  @ApiAcceptedResponse(answers('TaskCancellation'))
  @ApiErrors(400, 401, 403, 404, 406, 409, 413, 415, 422, 503)
  cancel(@Caller() caller: AuthContext, @TaskId() taskId: string, @Body() body: CancelTaskDto): Promise<Cancellation> {
    return this.cancelTask.execute(caller, taskId, body.reason);
  }

  @Post(':taskId/retry')
  @Requires('tasks:write', 'tasks:operate')
  @ApiOperation({ operationId: 'retryTask', summary: 'Run a task that is over again, as a new task' })
  @TakesIds('taskId')
  @Takes('RetryTask')
  @ApiCreatedResponse({ ...answers('TaskAccepted', 'A new task'), headers: LOCATION })
  @ApiOkResponse({ ...answers('TaskAccepted', 'The task of an earlier, equal request'), headers: REPLAYED })
  @ApiErrors(400, 401, 403, 404, 406, 409, 413, 415, 422, 429, 503)
  async retry(
    @Caller() caller: AuthContext,
    @TaskId() taskId: string,
    @Body() body: RetryTaskDto,
    @Req() request: Request,
    @Res({ passthrough: true }) response: Response,
  ): Promise<TaskAccepted> {
    demandFree(body.clientRequestId);
    const submitted = await this.retryTask.execute(caller, taskId, body);
    const up = request.path.endsWith('/') ? '../..' : '..';
    answered(response, submitted, `${up}/${submitted.taskId}`);
    return submitted;
  }

  @Post(':taskId/actions')
  @Requires('tasks:write', 'tasks:operate')
  @OpenToFollowTokens('answer')
  @ApiOperation({ operationId: 'answerQuestion', summary: "Answer a task's open question" })
  @TakesIds('taskId')
  @Takes('SubmitAction')
  @ApiAcceptedResponse(answers('ActionResult', 'Accepted'))
  @ApiOkResponse(answers('ActionResult', 'A repeat, or too late'))
  @ApiErrors(400, 401, 403, 404, 406, 409, 413, 415, 422, 503)
  async act(
    @Caller() caller: AuthContext,
    @TaskId() taskId: string,
    @Body() body: SubmitActionDto,
    @Res({ passthrough: true }) response: Response,
  ): Promise<ActionResult> {
    const result = await this.submitAction.execute(caller, taskId, body);
    response.status(result.status === 'ACCEPTED' ? 202 : 200);
    return result;
  }
}

/** The header may replace the member. Both may be there when they agree, and the member may have the quotes of the header. */
function requestNamedBy(
  { clientRequestId }: CreateTaskDto,
  key: SentKey | undefined,
): Pick<Submission, 'clientRequestId' | 'earlierId'> {
  demandFree(clientRequestId ?? key?.clientRequestId ?? '');
  if (clientRequestId === undefined) {
    if (key)
      return { clientRequestId: key.clientRequestId, ...(key.quoted !== undefined && { earlierId: key.quoted }) };
    throw new RequestValidationError([
      { path: 'clientRequestId', message: 'is required, unless an Idempotency-Key header stands in for it' },
    ]);
  }
  if (key && ![key.clientRequestId, key.quoted].includes(clientRequestId)) {
    throw new InvalidRequest('Idempotency-Key and clientRequestId differ.');
  }
  return { clientRequestId };
}

function answered(response: Response, { deduplicated }: TaskAccepted, location: string): void {
  response.status(deduplicated ? 200 : 201);
  if (deduplicated) response.setHeader('Idempotent-Replayed', 'true');
  else response.setHeader('Location', location);
}

/** @throws RequestValidationError when only a schedule may use the id */
function demandFree(clientRequestId: string): void {
  if (!clientRequestId.startsWith(SCHEDULE_PREFIX)) return;
  throw new RequestValidationError([
    { path: 'clientRequestId', message: `must not begin with ${SCHEDULE_PREFIX}, which schedules use` },
  ]);
}

function timingOf({ startAfter, delaySeconds, priority, deadline, maxAttempts }: CreateTaskDto): Timing {
  if (startAfter !== undefined && delaySeconds !== undefined) {
    throw new RequestValidationError([{ path: 'delaySeconds', message: 'must not stand beside startAfter' }]);
  }
  return {
    ...(startAfter !== undefined && { startAfter }),
    ...(delaySeconds !== undefined && { delaySeconds }),
    ...(priority !== undefined && { priority }),
    ...(deadline !== undefined && { deadline }),
    ...(maxAttempts !== undefined && { maxAttempts }),
  };
}

/** Relative to the client's address, because a proxy may have removed a prefix from it. */
function locationOf(taskId: string, path: string): string {
  return path.endsWith('/') ? taskId : `tasks/${taskId}`;
}
