import { Controller, Delete, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { ErasedTasks } from '#protocol/snapshots.js';
import { type AuthContext, isName } from '../../auth/auth-context.js';
import { Caller, Requires } from '../../auth/route.decorators.js';
import { InvalidRequest } from '../../errors.js';
import { ApiErrors } from '../../http/api-errors.decorator.js';
import { answers, TakesQuery } from '../../http/api-schemas.js';
import { EraseTasks } from '../erase-tasks.js';
import { EraseOwnerDto } from './dto/erase-owner.dto.js';

@ApiTags('tasks')
@Controller('api/v1/owners')
export class OwnersController {
  constructor(private readonly eraseTasks: EraseTasks) {}

  @Delete(':ownerId/tasks')
  @Requires('tasks:write', 'tasks:operate')
  @ApiOperation({ operationId: 'eraseTasks', summary: 'Erase the tasks of an owner' })
  @ApiParam({ name: 'ownerId', schema: { type: 'string', minLength: 1, maxLength: 128 } })
  @TakesQuery('eraseTasks')
  @ApiOkResponse(answers('ErasedTasks'))
  @ApiErrors(400, 401, 403, 406, 409, 503)
  erase(
    @Caller() caller: AuthContext,
    @Param('ownerId') ownerId: string,
    @Query() { tenant = caller.tenantId ?? '' }: EraseOwnerDto,
  ): Promise<ErasedTasks> {
    if (!isName(ownerId)) throw new InvalidRequest('The id of an owner has 1 to 128 characters, and no controls.');
    return this.eraseTasks.ofOwner(caller, { tenantId: tenant, ownerId });
  }
}
