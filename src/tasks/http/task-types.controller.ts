import { Body, Controller, Delete, Get, Header, Param, Put, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { patternOf, TASK_TYPE } from '#protocol/ids.js';
import type { Answer, TaskTypeState } from '#protocol/snapshots.js';
import type { AuthContext } from '../../auth/auth-context.js';
import { Caller, Requires } from '../../auth/route.decorators.js';
import { InvalidRequest } from '../../errors.js';
import { ApiErrors } from '../../http/api-errors.decorator.js';
import { answers, Takes, TakesQuery } from '../../http/api-schemas.js';
import { ListTypes } from '../list-types.js';
import { PauseType } from '../pause-type.js';
import { ReadType } from '../read-type.js';
import { ListTypesDto } from './dto/overview.dto.js';
import { PauseTypeDto } from './dto/pause-type.dto.js';

const A_TASK_TYPE = patternOf(TASK_TYPE);
const NamesType = () => ApiParam({ name: 'taskType', schema: TASK_TYPE as object });

/** Task types, for operators. A type with `/` in its name is written with `%2F`. */
@ApiTags('task types')
@Controller('api/v1/task-types')
export class TaskTypesController {
  constructor(
    private readonly listTypes: ListTypes,
    private readonly readType: ReadType,
    private readonly pauseType: PauseType,
  ) {}

  @Get()
  @Requires('tasks:admin')
  @Header('Cache-Control', 'no-store')
  @ApiOperation({ operationId: 'listTypes', summary: 'List the task types, and what they hold back' })
  @TakesQuery('listTypes')
  @ApiOkResponse(answers('TaskTypes'))
  @ApiErrors(400, 401, 403, 406, 503)
  list(@Caller() caller: AuthContext, @Query() query: ListTypesDto): Promise<Answer<'TaskTypes'>> {
    return this.listTypes.execute(caller, query);
  }

  @Get(':taskType')
  @Requires('tasks:admin')
  @ApiOperation({ operationId: 'readType', summary: 'Read what applies to the tasks of a type' })
  @NamesType()
  @ApiOkResponse(answers('TaskTypeState', 'The policy in effect, and whether the type is paused'))
  @ApiErrors(400, 401, 403, 406, 503)
  read(@Caller() caller: AuthContext, @Param('taskType') taskType: string): Promise<TaskTypeState> {
    return this.readType.execute(caller, known(taskType));
  }

  @Put(':taskType/pause')
  @Requires('tasks:operate')
  @ApiOperation({ operationId: 'pauseType', summary: 'Keep the waiting tasks of a type from being claimed' })
  @NamesType()
  @Takes('PauseTaskType', { required: false })
  @ApiOkResponse(answers('TaskTypeState', 'Paused on all replicas. What runs goes on.'))
  @ApiErrors(400, 401, 403, 406, 413, 415, 422, 503)
  pause(
    @Caller() caller: AuthContext,
    @Param('taskType') taskType: string,
    @Body() { reason }: PauseTypeDto,
  ): Promise<TaskTypeState> {
    return this.pauseType.pause(caller, known(taskType), reason ?? null);
  }

  @Delete(':taskType/pause')
  @Requires('tasks:operate')
  @ApiOperation({ operationId: 'resumeType', summary: 'Let the waiting tasks of a type be claimed again' })
  @NamesType()
  @ApiOkResponse(answers('TaskTypeState', 'Not paused'))
  @ApiErrors(400, 401, 403, 406, 503)
  resume(@Caller() caller: AuthContext, @Param('taskType') taskType: string): Promise<TaskTypeState> {
    return this.pauseType.resume(caller, known(taskType));
  }
}

/** @throws InvalidRequest */
function known(taskType: string): string {
  if (!A_TASK_TYPE.test(taskType)) throw new InvalidRequest(`The task type must be ${TASK_TYPE.title}.`);
  return taskType;
}
