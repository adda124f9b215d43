import { Body, Controller, Get, HttpCode, Param, Post, Res } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { type Bulk, type BulkKind } from '#protocol/bulk.js';
import { taskIdFrom } from '#protocol/ids.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Caller, Requires } from '../auth/route.decorators.js';
import { RequestValidationError } from '../errors.js';
import { ApiErrors } from '../http/api-errors.decorator.js';
import { answers, Takes, TakesIds } from '../http/api-schemas.js';
import { isTaskId } from '../tasks/domain/task-id.js';
import type { StoredBulk } from './bulk-rows.js';
import { StartBulkDto } from './bulk.dto.js';
import { BulkNotFound } from './bulk.errors.js';
import { StartBulk, type Wanted } from './start-bulk.js';

const DEFAULT_MAX = 1_000;

const StartsBulk = (kind: BulkKind) =>
  ApiOperation({
    operationId: `${kind}Tasks`,
    summary: kind === 'cancel' ? 'Ask many tasks to end' : 'Run many tasks again',
  });

@ApiTags('bulk')
@Controller('api/v1')
export class BulkController {
  constructor(private readonly startBulk: StartBulk) {}

  @Post('tasks/bulk/cancel')
  @HttpCode(202)
  @Requires('tasks:write', 'tasks:operate')
  @StartsBulk('cancel')
  @Takes('StartBulk')
  @ApiAcceptedResponse(answers('Bulk', 'It runs'))
  @ApiOkResponse(answers('Bulk', 'What would be done'))
  @ApiErrors(400, 401, 403, 404, 406, 409, 413, 415, 422, 503)
  cancel(
    @Caller() caller: AuthContext,
    @Body() body: StartBulkDto,
    @Res({ passthrough: true }) response: Response,
  ): Promise<Bulk> {
    return this.start(caller, 'cancel', body, response);
  }

  @Post('tasks/bulk/retry')
  @HttpCode(202)
  @Requires('tasks:write', 'tasks:operate')
  @StartsBulk('retry')
  @Takes('StartBulk')
  @ApiAcceptedResponse(answers('Bulk', 'It runs'))
  @ApiOkResponse(answers('Bulk', 'What would be done'))
  @ApiErrors(400, 401, 403, 404, 406, 409, 413, 415, 422, 503)
  retry(
    @Caller() caller: AuthContext,
    @Body() body: StartBulkDto,
    @Res({ passthrough: true }) response: Response,
  ): Promise<Bulk> {
    return this.start(caller, 'retry', body, response);
  }

  @Get('bulks/:bulkId')
  @Requires('tasks:write', 'tasks:operate')
  @ApiOperation({ operationId: 'readBulk', summary: 'How far it is' })
  @TakesIds('bulkId')
  @ApiOkResponse(answers('Bulk'))
  @ApiErrors(400, 401, 403, 404, 406, 503)
  async read(@Caller() caller: AuthContext, @Param('bulkId') bulkId: string): Promise<Bulk> {
    if (!isTaskId(bulkId)) throw new BulkNotFound();
    return shown(await this.startBulk.read(caller, bulkId));
  }

  private async start(caller: AuthContext, kind: BulkKind, body: StartBulkDto, response: Response): Promise<Bulk> {
    const { bulkId, clientRequestId } = body;
    const wanted = wantedBy(caller, body);
    const bulk = wanted
      ? await this.startBulk.select(caller, kind, wanted, clientRequestId)
      : await this.startBulk.run(caller, kind, bulkId ?? '');
    response.status(bulk.isDryRun ? 200 : 202);
    return shown(bulk);
  }
}

/** Undefined: what was shown before. @throws RequestValidationError */
function wantedBy(caller: AuthContext, body: StartBulkDto): Wanted | undefined {
  const { ids, filter, bulkId, dryRun, clientRequestId, createdBefore, max, owner, tenant } = body;
  const given = [ids, filter, bulkId].filter((one) => one !== undefined).length;
  const ofFilter = { createdBefore, max, owner, tenant };
  const misplaced = Object.entries(ofFilter).find(([, value]) => value !== undefined && filter === undefined);
  const wrong =
    given !== 1
      ? { path: 'ids', message: 'ids, filter or bulkId is required, and one of them alone' }
      : misplaced
        ? { path: misplaced[0], message: 'belongs to filter' }
        : bulkId !== undefined && dryRun
          ? { path: 'dryRun', message: 'bulkId runs what was shown' }
          : tenant !== undefined && owner === undefined
            ? { path: 'tenant', message: 'belongs to owner' }
            : (clientRequestId === undefined) !== (dryRun || bulkId !== undefined)
              ? { path: 'clientRequestId', message: 'is required to run ids or filter, and belongs to nothing else' }
              : undefined;
  if (wrong) throw new RequestValidationError([wrong]);
  if (ids) return { ids: ids.map(taskIdFrom) };
  if (!filter) return undefined;
  const of = owner === undefined ? undefined : { ownerId: owner, tenantId: tenant ?? caller.tenantId ?? '' };
  return { filter: { ...filter }, of, createdBefore, max: max ?? DEFAULT_MAX };
}

function shown({ bulkId, kind, isDryRun, matched, outcomes, taskIds, createdAt, finishedAt }: StoredBulk): Bulk {
  return {
    ...{ bulkId, kind, dryRun: isDryRun, matched, outcomes },
    ...(isDryRun && { taskIds }),
    createdAt: createdAt.toISOString(),
    ...(finishedAt && { finishedAt: finishedAt.toISOString() }),
  };
}
