import { Controller, Delete, Get, Header, HttpCode, Param, Query } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Answer } from '#protocol/snapshots.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Caller, Requires } from '../auth/route.decorators.js';
import { ApiErrors } from '../http/api-errors.decorator.js';
import { answers, TakesIds, TakesQuery } from '../http/api-schemas.js';
import { EndStreams } from './end-streams.js';
import { ReadSystem } from './read-system.js';
import { ListWorkersDto, ReadLogDto } from './system.dto.js';
import { SystemReplicas } from './system-replicas.js';

const NOT_KEPT = Header('Cache-Control', 'no-store');

/** What an installation is made of and does, for operators. */
@ApiTags('system')
@ApiErrors(400, 401, 403, 406, 503)
@Controller('api/v1/system')
export class SystemController {
  constructor(
    private readonly system: ReadSystem,
    private readonly replicas: SystemReplicas,
    private readonly endStreams: EndStreams,
  ) {}

  @Get('workers')
  @Requires('tasks:admin')
  @NOT_KEPT
  @ApiOperation({ operationId: 'listWorkers', summary: 'List the remote workers that were seen within a day' })
  @TakesQuery('listWorkers')
  @ApiOkResponse(answers('SystemWorkers'))
  workers(@Caller() caller: AuthContext, @Query() query: ListWorkersDto): Promise<Answer<'SystemWorkers'>> {
    return this.system.workers(caller, query);
  }

  @Get('replicas')
  @Requires('tasks:admin')
  @NOT_KEPT
  @ApiOperation({ operationId: 'listReplicas', summary: 'List the replicas of the service' })
  @ApiOkResponse(answers('SystemReplicas'))
  listReplicas(@Caller() caller: AuthContext): Promise<Answer<'SystemReplicas'>> {
    return this.replicas.list(caller);
  }

  @Get('streams')
  @Requires('tasks:admin')
  @NOT_KEPT
  @ApiOperation({ operationId: 'listStreams', summary: 'List the open streams of all replicas' })
  @ApiOkResponse(answers('SystemStreams'))
  listStreams(@Caller() caller: AuthContext): Promise<Answer<'SystemStreams'>> {
    return this.replicas.listStreams(caller);
  }

  @Delete('streams/:streamId')
  @HttpCode(202)
  @Requires('tasks:operate')
  @ApiOperation({ operationId: 'endStream', summary: 'End a stream with its connection. Its client may come back' })
  @TakesIds('streamId')
  @ApiAcceptedResponse(answers('StreamEnd'))
  @ApiErrors(404)
  endStream(@Caller() caller: AuthContext, @Param('streamId') streamId: string): Promise<Answer<'StreamEnd'>> {
    return this.endStreams.execute(caller, streamId);
  }

  @Get('settings')
  @Requires('tasks:admin')
  @NOT_KEPT
  @ApiOperation({ operationId: 'readSettings', summary: 'Read the settings in effect, without secrets' })
  @ApiOkResponse(answers('SystemSettings'))
  settings(@Caller() caller: AuthContext): Promise<Answer<'SystemSettings'>> {
    return this.system.settings(caller);
  }

  @Get('readiness')
  @Requires('tasks:admin')
  @NOT_KEPT
  @ApiOperation({ operationId: 'showReadiness', summary: 'Read which parts are ready' })
  @ApiOkResponse(answers('SystemReadiness'))
  readiness(@Caller() caller: AuthContext): Promise<Answer<'SystemReadiness'>> {
    return this.system.readiness(caller);
  }

  @Get('retention')
  @Requires('tasks:admin')
  @NOT_KEPT
  @ApiOperation({ operationId: 'readRetention', summary: 'Read when old tasks were removed, and which are due' })
  @ApiOkResponse(answers('SystemRetention'))
  retention(@Caller() caller: AuthContext): Promise<Answer<'SystemRetention'>> {
    return this.system.retention(caller);
  }

  @Get('numbers')
  @Requires('tasks:admin')
  @NOT_KEPT
  @ApiOperation({ operationId: 'readNumbers', summary: 'Read the numbers of the last quarter of an hour' })
  @ApiOkResponse(answers('SystemNumbers'))
  numbers(@Caller() caller: AuthContext): Promise<Answer<'SystemNumbers'>> {
    return this.system.numbers(caller);
  }

  @Get('log')
  @Requires('tasks:admin')
  @NOT_KEPT
  @ApiOperation({ operationId: 'readLog', summary: 'Read the last ends of use-cases' })
  @TakesQuery('readLog')
  @ApiOkResponse(answers('SystemLog'))
  log(@Query() query: ReadLogDto): Answer<'SystemLog'> {
    return this.system.log(query);
  }
}
