import { Catch, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { WebSocket } from 'ws';
import { Log } from '../../observability/log.js';
import { TaskBridgeError } from '../../errors.js';
import { sessionOf } from './session.js';

/** The error filter of WebSockets: a bad frame ends the connection, in both protocols. */
@Catch()
export class WebSocketErrorFilter implements ExceptionFilter {
  constructor(private readonly log: Log) {}

  catch(error: unknown, host: ArgumentsHost): void {
    if (!(error instanceof TaskBridgeError)) this.log.error({ err: error }, 'websocket.failed');
    sessionOf(host.switchToWs().getClient<WebSocket>())?.refuse(error);
  }
}
