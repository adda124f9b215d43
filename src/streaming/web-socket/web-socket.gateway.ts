import type { IncomingMessage } from 'node:http';
import { UseFilters } from '@nestjs/common';
import {
  ConnectedSocket,
  MessageBody,
  type OnGatewayConnection,
  SubscribeMessage,
  WebSocketGateway,
} from '@nestjs/websockets';
import type { WebSocket } from 'ws';
import { MULTIPLEX } from '#protocol/frames.js';
import { Callers } from '../../auth/callers.js';
import { DrainState } from '../../drain-state.js';
import { EdgeValidationPipe } from '../../http/validation.pipe.js';
import { storyFrom } from '../../observability/correlation.js';
import { StreamingConfig } from '../streaming.config.js';
import { SubscribeChangesFrameDto, UnsubscribeChangesFrameDto } from './changes-frames.dto.js';
import { AuthenticateFrameDto, SubscribeFrameDto, UnsubscribeFrameDto } from './client-frames.dto.js';
import { MultiplexWriter } from './multiplex-writer.js';
import { FollowChanges } from '../changes/follow-changes.js';
import { FollowStream } from '../follow-stream.js';
import { Session, sessionOf } from './session.js';
import { Streams } from '../streams.js';
import { Upgrades, WEB_SOCKET_PATH } from './upgrades.js';
import { REFUSED } from './web-socket-adapter.js';
import { WebSocketErrorFilter } from './web-socket.filter.js';
import { WebSocketWriter } from './web-socket-writer.js';

/** `/api/v1/tasks/ws`: protocol 1.0, or many tasks on one connection for clients that offer the subprotocol. */
@WebSocketGateway({ path: WEB_SOCKET_PATH })
@UseFilters(WebSocketErrorFilter)
export class TasksGateway implements OnGatewayConnection<WebSocket> {
  constructor(
    private readonly upgrades: Upgrades,
    readonly followStream: FollowStream,
    readonly followChanges: FollowChanges,
    readonly streams: Streams,
    readonly drain: DrainState,
    readonly callers: Callers,
    private readonly config: StreamingConfig,
  ) {}

  handleConnection(socket: WebSocket, request: IncomingMessage): void {
    const caller = this.upgrades.callerOf(request);
    const Writer = socket.protocol === MULTIPLEX ? MultiplexWriter : WebSocketWriter;
    const writer = new Writer(socket, this.config.streamMaxBufferedBytes);
    const story = storyFrom(request.headers['traceparent']?.toString());
    new Session(socket, writer, request, caller, story, this);
  }

  /** Does not wait for the stream: Nest would keep its objects of the call as long. */
  @SubscribeMessage('subscribe')
  subscribe(@ConnectedSocket() socket: WebSocket, @MessageBody(EdgeValidationPipe) frame: SubscribeFrameDto): void {
    sessionOf(socket)?.subscribe(frame);
  }

  @SubscribeMessage('unsubscribe')
  unsubscribe(@ConnectedSocket() socket: WebSocket, @MessageBody(EdgeValidationPipe) frame: UnsubscribeFrameDto): void {
    sessionOf(socket)?.unsubscribe(frame);
  }

  @SubscribeMessage('authenticate')
  authenticate(
    @ConnectedSocket() socket: WebSocket,
    @MessageBody(EdgeValidationPipe) frame: AuthenticateFrameDto,
  ): void {
    sessionOf(socket)?.authenticate(frame);
  }

  @SubscribeMessage('subscribe_changes')
  subscribeChanges(
    @ConnectedSocket() socket: WebSocket,
    @MessageBody(EdgeValidationPipe) frame: SubscribeChangesFrameDto,
  ): void {
    sessionOf(socket)?.subscribeChanges(frame);
  }

  @SubscribeMessage('unsubscribe_changes')
  unsubscribeChanges(
    @ConnectedSocket() socket: WebSocket,
    @MessageBody(EdgeValidationPipe) _frame: UnsubscribeChangesFrameDto,
  ): void {
    sessionOf(socket)?.unsubscribeChanges();
  }

  @SubscribeMessage(REFUSED)
  // Without a class: the application's pipe would validate an Error as a body.
  refuse(@MessageBody() error: unknown): never {
    throw error;
  }
}
