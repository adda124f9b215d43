import type { INestApplicationContext } from '@nestjs/common';
import { WsAdapter } from '@nestjs/platform-ws';
import type { RawData, WebSocket, WebSocketServer } from 'ws';
import { MULTIPLEX } from '#protocol/frames.js';
import { MAX_FRAME_BYTES } from '#protocol/limits.js';
import { answerOnSocket } from '../http/client-error.js';
import { MalformedJson } from '../http/http.errors.js';
import { parseStrictJson } from '../http/strict-json.js';
import { FrameRefused } from './delivery.errors.js';

/** Where frames go that no handler may see. No client can name it: the parser alone hands out events. */
export const REFUSED = 'refused';
const ACTIONS: ReadonlySet<unknown> = new Set(['subscribe', 'unsubscribe']);

const BAD_HANDSHAKE = { status: 400, code: 'INVALID_REQUEST', message: 'The handshake of the WebSocket is malformed' };

type Binding = Parameters<WsAdapter['bindMessageHandlers']>;

/** The `ws` server under Nest's gateways: how large a frame may be, and how it becomes an event. */
export class WebSocketAdapter extends WsAdapter {
  constructor(app: INestApplicationContext) {
    super(app);
  }

  /** Nest's own keeps a chain of observables for each connection, which is 10 KiB. */
  override bindMessageHandlers(client: WebSocket, handlers: Binding[1], transform: Binding[2]): void {
    client.on('message', (raw: RawData, isBinary: boolean) => {
      const { event, data } = messageOf(raw, isBinary);
      const handler = handlers.find(({ message }) => message === event);
      if (!handler) return;
      transform(handler.callback(data, event)).subscribe({
        next: (answer: unknown) => answer !== undefined && client.send(JSON.stringify(answer)),
        error: (error: unknown) => this.logger.error(error),
      });
    });
  }

  /** Nest's own logs what is wrong with a client's frame, or with its connection, as an error of ours. Its close follows it. */
  override bindErrorHandler(server: WebSocketServer): WebSocketServer {
    server.on('connection', (client) => client.on('error', () => undefined));
    return server.on('error', (error) => this.logger.error(error));
  }

  override create(port: number, options: Parameters<WsAdapter['create']>[1]): unknown {
    const server = super.create(port, {
      ...options,
      // More is answered with 1009.
      maxPayload: MAX_FRAME_BYTES,
      perMessageDeflate: false,
      // A frame in each turn of the event loop: a flood of small ones waits for others, and nobody for the flood.
      allowSynchronousEvents: false,
      // `ws` would take the first one offered, whatever it is.
      handleProtocols: (offered: ReadonlySet<string>) => offered.has(MULTIPLEX) && MULTIPLEX,
    }) as WebSocketServer;
    server.on('wsClientError', (_error, socket) =>
      answerOnSocket(socket, BAD_HANDSHAKE, { 'Sec-WebSocket-Version': '13, 8' }),
    );
    return server;
  }
}

/** `ws` gives Buffers, unless it is told otherwise. */
function messageOf(raw: RawData, isBinary: boolean): { event: string; data: unknown } {
  if (isBinary) return { event: REFUSED, data: new FrameRefused('binary') };
  try {
    const frame = parseStrictJson((raw as Buffer).toString());
    const action = typeof frame === 'object' && frame !== null && !Array.isArray(frame) ? frame['action'] : undefined;
    if (!ACTIONS.has(action)) return { event: REFUSED, data: new FrameRefused('unknown_action') };
    return { event: action as string, data: frame };
  } catch (error) {
    if (!(error instanceof MalformedJson)) throw error;
    return { event: REFUSED, data: error };
  }
}
