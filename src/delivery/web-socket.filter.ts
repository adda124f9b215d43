import { Catch, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { WebSocket } from 'ws';
import { Log } from '../observability/log.js';
import { TaskBridgeError } from '../taskbridge-error.js';
import { CLOSE, closeCodeOf } from './close-codes.js';
import { FrameRefused } from './delivery.errors.js';

/** What the error filter is for HTTP: every refusal becomes a close code, with the error's code as the reason. */
@Catch()
export class WebSocketErrorFilter implements ExceptionFilter {
  constructor(private readonly log: Log) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const socket = host.switchToWs().getClient<WebSocket>();
    if (error instanceof FrameRefused && error.problem === 'binary') socket.close(CLOSE.binary, error.code);
    else if (error instanceof TaskBridgeError) socket.close(closeCodeOf(error), error.code);
    else {
      this.log.error({ err: error }, 'websocket.failed');
      socket.close(CLOSE.overloaded, 'INTERNAL_ERROR');
    }
  }
}
