import { Controller, Get, Header, Query, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import type { AuthContext } from '../../auth/auth-context.js';
import { Caller, OpenToFollowTokens, Requires } from '../../auth/route.decorators.js';
import { Produces } from '../../http/accept.guard.js';
import { ApiErrors } from '../../http/api-errors.decorator.js';
import { answers, TakesHeaders, TakesQuery } from '../../http/api-schemas.js';
import { OriginPolicy } from '../../http/origin-policy.js';
import { arrayOf, JsonText, writeObject } from '../../json/json-text.js';
import { goneSignal } from '../gone-signal.js';
import { sseHeadersFor } from '../sse-writer.js';
import { StreamingConfig } from '../streaming.config.js';
import { changeJson } from './change-json.js';
import { PollChangesDto, StreamChangesDto } from './changes.dto.js';
import { ChangesSseWriter } from './changes-sse-writer.js';
import { FollowChanges } from './follow-changes.js';
import { PollChanges } from './poll-changes.js';

@ApiTags('changes')
@ApiErrors(400, 401, 403, 406, 410, 429, 503)
@Controller('api/v1/tasks/changes')
export class ChangesController {
  constructor(
    private readonly pollChanges: PollChanges,
    private readonly followChanges: FollowChanges,
    private readonly config: StreamingConfig,
    private readonly origins: OriginPolicy,
  ) {}

  @Get()
  @Requires('tasks:read')
  @OpenToFollowTokens('read', { forOwner: true })
  @Header('Cache-Control', 'no-store')
  @Header('Content-Type', 'application/json; charset=utf-8')
  @ApiOperation({
    operationId: 'pollChanges',
    summary: 'Read what changed among tasks, waiting while nothing did (long-poll)',
  })
  @TakesQuery('pollChanges')
  @ApiOkResponse(answers('ChangesPage'))
  async poll(
    @Caller() caller: AuthContext,
    @Query() query: PollChangesDto,
    @Res({ passthrough: true }) response: Response,
  ): Promise<string> {
    const { waitTimeoutMs, ...wanted } = query;
    const { changes, next } = await this.pollChanges.execute(caller, wanted, waitTimeoutMs, goneSignal(response));
    return writeObject({ changes: arrayOf(changes.map((change) => new JsonText(changeJson(change)))), next });
  }

  @Get('stream')
  @Produces('text/event-stream')
  @Requires('tasks:read')
  @OpenToFollowTokens('read', { forOwner: true, inQuery: true })
  @ApiOperation({ operationId: 'streamChanges', summary: 'Follow what changes among tasks (Server-Sent Events)' })
  @TakesQuery('streamChanges')
  @TakesHeaders('Last-Event-ID')
  @ApiOkResponse({
    description: 'Changes as they happen, and heartbeats',
    content: { 'text/event-stream': { schema: { type: 'string' } } },
  })
  async stream(
    @Caller() caller: AuthContext,
    @Query() query: StreamChangesDto,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    this.origins.check(request);
    const { token: _token, ...asked } = query;
    const after = request.headers['last-event-id']?.toString() ?? asked.after;
    const wanted = { ...asked, ...(after !== undefined && { after }) };
    await this.followChanges.execute(caller, wanted, 'sse', ({ subscription, feed }) => {
      if (request.method === 'HEAD') response.writeHead(200, sseHeadersFor(request)).end();
      else feed(new ChangesSseWriter(response, this.config.streamMaxBufferedBytes, subscription.next));
    });
  }
}
