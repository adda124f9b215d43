import { Body, Controller, Delete, Get, Header, HttpCode, Param, Put, Query, Res } from '@nestjs/common';
import {
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiParam,
  ApiTags,
} from '@nestjs/swagger';
import type { Response } from 'express';
import { patternOf } from '#protocol/ids.js';
import { type Schedule, SCHEDULE_NAME } from '#protocol/schedules.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Caller, Requires } from '../auth/route.decorators.js';
import { InvalidRequest } from '../errors.js';
import { ApiErrors } from '../http/api-errors.decorator.js';
import { answers, Takes, TakesQuery } from '../http/api-schemas.js';
import { JsonText, type WithText, writeObject } from '../json/json-text.js';
import { isOfOthers } from '../tasks/scope-for.js';
import { KeepSchedules } from './keep-schedules.js';
import { ListSchedules } from './list-schedules.js';
import { ListSchedulesDto } from './list-schedules.dto.js';
import { PutScheduleDto } from './put-schedule.dto.js';
import type { StoredSchedule } from './schedule-rows.js';

const A_NAME = patternOf(SCHEDULE_NAME);
const EMPTY = new JsonText('{}');
const NAMED = ApiParam({ name: 'name', schema: SCHEDULE_NAME as object });
const JSON_TYPE = Header('Content-Type', 'application/json; charset=utf-8');

@ApiTags('schedules')
@Controller('api/v1/schedules')
export class SchedulesController {
  constructor(
    private readonly schedules: KeepSchedules,
    private readonly listSchedules: ListSchedules,
  ) {}

  @Put(':name')
  @Requires('tasks:write')
  @JSON_TYPE
  @ApiOperation({ operationId: 'putSchedule', summary: 'Make or replace a schedule, which creates tasks' })
  @NAMED
  @Takes('PutSchedule')
  @ApiCreatedResponse(answers('Schedule', 'A new schedule'))
  @ApiOkResponse(answers('Schedule', 'The schedule was there, and is replaced'))
  @ApiErrors(400, 401, 403, 406, 413, 415, 422, 429, 503)
  async put(
    @Caller() caller: AuthContext,
    @Param('name') name: string,
    @Body() { input, metadata, ...content }: PutScheduleDto,
    @Res({ passthrough: true }) response: Response,
  ): Promise<string> {
    const json = { inputJson: input?.json ?? null, metadataJson: metadata?.json ?? null };
    const { schedule, isNew } = await this.schedules.put(caller, named(name), { ...content, ...json });
    response.status(isNew ? 201 : 200);
    return shown(schedule);
  }

  @Get()
  @Requires('tasks:read')
  @JSON_TYPE
  @ApiOperation({ operationId: 'listSchedules', summary: 'List your own schedules, or those of others, by name' })
  @TakesQuery('listSchedules')
  @ApiOkResponse(answers('Schedules'))
  @ApiErrors(400, 401, 403, 406, 503)
  async list(@Caller() caller: AuthContext, @Query() query: ListSchedulesDto): Promise<string> {
    const { items, nextCursor } = await this.listSchedules.execute(caller, query, query);
    const ofOthers = isOfOthers(query);
    const texts = items.map(({ schedule, ticks }) => {
      const { ownerId, tenantId } = schedule;
      return shown(schedule, {
        ticks: ticks.map((at) => at.toISOString()),
        ...(ofOthers && { ownerId }),
        ...(ofOthers && tenantId !== '' && { tenantId }),
      });
    });
    return `{"items":[${texts.join(',')}],"nextCursor":${JSON.stringify(nextCursor)}}`;
  }

  @Get(':name')
  @Requires('tasks:read')
  @JSON_TYPE
  @ApiOperation({ operationId: 'readSchedule', summary: 'Read a schedule' })
  @NAMED
  @ApiOkResponse(answers('Schedule'))
  @ApiErrors(400, 401, 403, 404, 406, 503)
  async read(@Caller() caller: AuthContext, @Param('name') name: string): Promise<string> {
    return shown(await this.schedules.read(caller, named(name)));
  }

  @Delete(':name')
  @HttpCode(204)
  @Requires('tasks:write')
  @ApiOperation({ operationId: 'deleteSchedule', summary: 'End a schedule. Its tasks stay' })
  @NAMED
  @ApiNoContentResponse({ description: 'It makes no task any more' })
  @ApiErrors(400, 401, 403, 404, 406, 503)
  async remove(@Caller() caller: AuthContext, @Param('name') name: string): Promise<void> {
    await this.schedules.remove(caller, named(name));
  }
}

/** @throws InvalidRequest */
function named(name: string): string {
  if (A_NAME.test(name)) return name;
  throw new InvalidRequest(`The name of a schedule must be ${SCHEDULE_NAME.title}.`);
}

function shown(schedule: StoredSchedule, more: Pick<Schedule, 'ticks' | 'ownerId' | 'tenantId'> = {}): string {
  const { name, cron, timeZone, taskType, overlap, catchUp, paused, lastAt, lastTaskId, lastSkip } = schedule;
  return writeObject({
    ...{ name, cron, timeZone, taskType },
    input: schedule.inputJson === null ? EMPTY : new JsonText(schedule.inputJson),
    metadata: schedule.metadataJson === null ? EMPTY : new JsonText(schedule.metadataJson),
    ...{ overlap, catchUp, paused },
    nextAt: schedule.nextAt?.toISOString() ?? null,
    ...(lastAt && { lastAt: lastAt.toISOString() }),
    ...(lastTaskId !== null && { lastTaskId }),
    ...(lastSkip !== null && { lastSkip }),
    createdAt: schedule.createdAt.toISOString(),
    updatedAt: schedule.updatedAt.toISOString(),
    ...more,
  } satisfies WithText<Schedule>);
}
