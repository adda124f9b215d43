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
import { AuthContextResolver } from '../auth/auth-context-resolver.js';
import { EdgeValidationPipe } from '../http/validation.pipe.js';
import { runInStory, storyFrom } from '../observability/correlation.js';
import { TaskBridgeError } from '../taskbridge-error.js';
import { CLOSE, closeCodeOf } from './close-codes.js';
import { Connection } from './connection.js';
import { FrameRefused } from './delivery.errors.js';
import { SubscribeFrameDto } from './dto/frames.dto.js';
import { OpenSubscription } from './open-subscription.js';
import { Streams } from './streams.js';
import { REFUSED } from './web-socket-adapter.js';
import { WebSocketErrorFilter } from './web-socket.filter.js';
import { WebSocketWriter } from './web-socket-writer.js';

/** `/api/v1/tasks/ws`, protocol 1.0: one task per connection. */
@WebSocketGateway({ path: '/api/v1/tasks/ws' })
@UseFilters(WebSocketErrorFilter)
export class TasksGateway implements OnGatewayConnection<WebSocket> {
  readonly #connections = new WeakMap<WebSocket, Connection>();

  constructor(
    private readonly resolver: AuthContextResolver,
    private readonly openSubscription: OpenSubscription,
    private readonly streams: Streams,
  ) {}

  handleConnection(socket: WebSocket, request: IncomingMessage): void {
    // An error on a socket is always followed by its close.
    socket.on('error', () => undefined);
    const caller = (async () => this.resolver.resolve(request))();
    caller.catch((error: unknown) => {
      if (error instanceof TaskBridgeError) socket.close(closeCodeOf(error), error.code);
      else socket.close(CLOSE.overloaded, 'INTERNAL_ERROR');
    });
    const story = storyFrom(request.headers['traceparent']?.toString());
    this.#connections.set(socket, new Connection(socket, caller, story, this.streams.draining));
  }

  @SubscribeMessage('subscribe')
  async subscribe(
    @ConnectedSocket() socket: WebSocket,
    @MessageBody(EdgeValidationPipe) frame: SubscribeFrameDto,
  ): Promise<void> {
    const connection = this.#connections.get(socket);
    if (!connection) return;
    if (!connection.subscribeOnce()) throw new FrameRefused('second_subscribe');
    const caller = await connection.caller.catch(() => undefined);
    if (!caller || connection.closed.aborted) return;
    await runInStory(connection.story, async () => {
      const slot = this.streams.admit(caller, 'websocket');
      try {
        const subscription = await this.openSubscription.execute(caller, frame.taskId, frame.lastEventId, 'websocket');
        const writer = new WebSocketWriter(socket, frame.taskId);
        writer.confirm(subscription);
        await this.streams.feed(subscription, writer, slot, connection.closed);
      } finally {
        slot.release();
      }
    });
  }

  @SubscribeMessage(REFUSED)
  // Of no class: the application's pipe would take an Error for a body and validate it.
  refuse(@MessageBody() error: unknown): never {
    throw error;
  }
}
