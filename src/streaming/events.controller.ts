import { Controller, Get, Header, Query, Req, Res } from '@nestjs/common';
import { ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { POLL_WAIT_MS } from '#protocol/limits.js';
import type { Answer } from '#protocol/snapshots.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Caller, OpenToFollowTokens, Requires } from '../auth/route.decorators.js';
import { Produces } from '../http/accept.guard.js';
import { ApiErrors } from '../http/api-errors.decorator.js';
import { answers, TakesHeaders, TakesIds, TakesQuery } from '../http/api-schemas.js';
import { arrayOf, JsonText, writeObject } from '../json/json-text.js';
import { InvalidRequest } from '../errors.js';
import { OriginPolicy } from '../http/origin-policy.js';
import { TaskId } from '../http/task-id.decorator.js';
import { snapshotFrame } from '../tasks/http/dto/task-snapshot.js';
import { StreamingConfig } from './streaming.config.js';
import { LongPollDto, StreamQueryDto } from './long-poll.dto.js';
import { FollowStream } from './follow-stream.js';
import { PageBackwards } from '../following/page-backwards.js';
import { goneSignal } from './gone-signal.js';
import { PollEvents } from './poll-events.js';
import { sseHeadersFor, SseWriter } from './sse-writer.js';

@ApiTags('events')
@ApiErrors(400, 401, 403, 404, 406, 409, 429, 503)
@Controller('api/v1/tasks/:taskId/events')
export class EventsController {
  constructor(
    private readonly pollEvents: PollEvents,
    private readonly pageBackwards: PageBackwards,
    private readonly followStream: FollowStream,
    private readonly config: StreamingConfig,
    private readonly origins: OriginPolicy,
  ) {}

  @Get()
  @Requires('tasks:read')
  @OpenToFollowTokens('read')
  @Header('Cache-Control', 'no-store')
  @Header('Content-Type', 'application/json; charset=utf-8')
  @ApiOperation({
    operationId: 'pollEvents',
    summary: 'Read a page of events, waiting while there is none (long-poll)',
  })
  @TakesIds('taskId')
  @TakesQuery('pollEvents')
  @ApiOkResponse(answers('EventPage'))
  async poll(
    @Caller() caller: AuthContext,
    @TaskId() taskId: string,
    @Query() query: LongPollDto,
    @Req() request: Request,
    @Res({ passthrough: true }) response: Response,
  ): Promise<string> {
    const { beforeEventId } = query;
    if (beforeEventId !== undefined) checkAlone(query);
    // Who asks for the headers alone waits for no event.
    const waitTimeoutMs = request.method === 'HEAD' ? 0 : (query.waitTimeoutMs ?? POLL_WAIT_MS.default);
    const page =
      beforeEventId === undefined
        ? await this.pollEvents.execute(caller, taskId, { ...query, waitTimeoutMs }, goneSignal(response))
        : await this.pageBackwards.execute(caller, taskId, beforeEventId, query.maxEvents);
    const [first] = page.events;
    const next = page.events.at(-1)?.eventId ?? query.afterEventId;
    const answer: Omit<Answer<'EventPage'>, 'events'> & { readonly events: JsonText } = {
      taskId,
      // The stored text as it is: parsed and written again it would no longer be the same bytes.
      events: arrayOf(page.events.map(({ envelope }) => new JsonText(envelope))),
      ...(next !== undefined && next !== '' && { nextAfterEventId: String(next) }),
      ...(beforeEventId !== undefined && first && { nextBeforeEventId: String(first.eventId) }),
      hasMore: page.hasMore,
      headEventId: String(page.headEventId),
      terminal: page.terminal,
    };
    return writeObject(answer);
  }

  @Get('stream')
  @Produces('text/event-stream')
  @Requires('tasks:read')
  @OpenToFollowTokens('read', { inQuery: true })
  @ApiOperation({ operationId: 'streamEvents', summary: 'Follow a task to its end (Server-Sent Events)' })
  @TakesIds('taskId')
  @TakesQuery('streamEvents')
  @TakesHeaders('Last-Event-ID')
  @ApiOkResponse({
    description: 'Events as they happen, and heartbeats; ends after the terminal event',
    content: { 'text/event-stream': { schema: { type: 'string' } } },
  })
  @ApiNoContentResponse({ description: 'The cursor is at the terminal event' })
  async stream(
    @Caller() caller: AuthContext,
    @TaskId() taskId: string,
    @Query() query: StreamQueryDto,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    this.origins.check(request);
    const cursor = request.headers['last-event-id']?.toString() ?? query.lastEventId;
    const { from } = query;
    await this.followStream.execute({ caller, taskId, cursor, from, transport: 'sse' }, ({ subscription, feed }) => {
      const snapshot = subscription.takeSnapshot();
      // 204 makes an EventSource stop. It reconnects after a stream that ended, and not after 204.
      if (subscription.isOver && !snapshot) response.status(204).end();
      else if (request.method === 'HEAD') response.writeHead(200, sseHeadersFor(request)).end();
      else {
        const writer = new SseWriter(response, taskId, this.config.streamMaxBufferedBytes);
        if (snapshot) writer.snapshot(subscription.lastEventId, snapshotFrame(snapshot));
        // A stream that breaks before its first event has to resume here.
        else if (from === 'now') writer.position(subscription.lastEventId);
        feed(writer);
      }
    });
  }
}

/** @throws InvalidRequest */
function checkAlone({ afterEventId, waitTimeoutMs }: LongPollDto): void {
  if (afterEventId !== undefined) throw new InvalidRequest('beforeEventId and afterEventId exclude each other.');
  if (waitTimeoutMs !== undefined)
    throw new InvalidRequest('A page before an event does not wait: leave waitTimeoutMs out.');
}
