import { Body, Controller, Delete, HttpCode, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { FOLLOW_TOKEN_SECONDS } from '#protocol/follow-tokens.js';
import type { FollowToken } from '#protocol/snapshots.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Caller, Requires } from '../auth/route.decorators.js';
import { InvalidRequest, RequestValidationError } from '../errors.js';
import { ApiErrors } from '../http/api-errors.decorator.js';
import { answers, Takes, TakesQuery } from '../http/api-schemas.js';
import { MintFollowToken } from './mint-follow-token.js';
import { MintFollowTokenDto } from './mint-follow-token.dto.js';
import { RevokeFollowTokens } from './revoke-follow-tokens.js';
import { RevokeFollowTokensDto } from './revoke-follow-tokens.dto.js';

const ONE_OF_TWO = 'taskId or owner is required, and not both';

@ApiTags('follow tokens')
@Controller('api/v1/follow-tokens')
export class FollowTokensController {
  constructor(
    private readonly mintFollowToken: MintFollowToken,
    private readonly revokeFollowTokens: RevokeFollowTokens,
  ) {}

  @Post()
  @Requires('tasks:read')
  @ApiOperation({ operationId: 'mintToken', summary: 'Make a token with which a page follows a task' })
  @Takes('MintFollowToken')
  @ApiCreatedResponse(answers('FollowToken', 'The token. It is not stored.'))
  @ApiErrors(400, 401, 403, 404, 406, 413, 415, 422, 503)
  mint(@Caller() caller: AuthContext, @Body() body: MintFollowTokenDto): Promise<FollowToken> {
    const { taskId, owner, may, seconds = FOLLOW_TOKEN_SECONDS.default } = body;
    if ((taskId === undefined) === (owner === undefined))
      throw new RequestValidationError([{ path: 'taskId', message: ONE_OF_TWO }]);
    return this.mintFollowToken.execute(caller, {
      ...(taskId !== undefined && { taskId }),
      may: [...new Set(['read' as const, ...may])],
      seconds,
    });
  }

  @Delete()
  @HttpCode(204)
  @Requires('tasks:read', 'tasks:operate')
  @ApiOperation({ operationId: 'revokeTokens', summary: 'End the tokens that were minted so far' })
  @TakesQuery('revokeTokens')
  @ApiNoContentResponse({ description: 'They are refused everywhere within 2 s, and their streams end' })
  @ApiErrors(400, 401, 403, 404, 406, 503)
  async revoke(@Caller() caller: AuthContext, @Query() query: RevokeFollowTokensDto): Promise<void> {
    const { taskId, owner } = query;
    if ((taskId === undefined) === (owner === undefined)) throw new InvalidRequest(`${ONE_OF_TWO}.`);
    await this.revokeFollowTokens.execute(caller, taskId);
  }
}
