import { type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { INestApplication } from '@nestjs/common';
import { WsAdapter } from '@nestjs/platform-ws';
import type { RawData, WebSocket, WebSocketServer } from 'ws';
import { MULTIPLEX, PLAIN } from '#protocol/frames.js';
import { MAX_FRAME_BYTES } from '#protocol/limits.js';
import { answerOnSocket, type SocketRefusal } from '../../http/client-error.js';
import { MalformedJson } from '../../errors.js';
import { parseStrictJson } from '../../json/strict-json.js';
import { type Upgrades, WEB_SOCKET_PATH } from './upgrades.js';
import { FrameRefused } from './web-socket.errors.js';

/** The event of frames that no handler may see. No client can name it, because only the parser makes events. */
export const REFUSED = 'refused';
const ACTIONS: ReadonlySet<unknown> = new Set([
  'subscribe',
  'unsubscribe',
  'subscribe_changes',
  'unsubscribe_changes',
  'authenticate',
]);

const BAD_HANDSHAKE: SocketRefusal = {
  status: 400,
  code: 'INVALID_REQUEST',
  message: 'The handshake of the WebSocket is malformed',
};

type Binding = Parameters<WsAdapter['bindMessageHandlers']>;

/** The `ws` server under Nest's gateways: the limit of a frame, and its event. */
export class WebSocketAdapter extends WsAdapter {
  readonly #server: Server;

  constructor(
    app: INestApplication,
    private readonly upgrades: Upgrades,
  ) {
    super(app);
    this.#server = app.getHttpServer() as Server;
    // Nest compares the whole path, and knows one spelling.
    this.#server.prependListener('upgrade', (request: IncomingMessage) => {
      request.url = request.url?.replace(/^[^?]*/, WEB_SOCKET_PATH);
    });
  }

  /** Nest's own method keeps a chain of observables for each connection, which takes 10 KiB. */
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

  /** Nest's own method logs faults of a client's frame or connection as our errors. The close follows. */
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
      // One frame in each turn of the event loop. So a flood of small frames delays only itself.
      allowSynchronousEvents: false,
      verifyClient: ({ req }: { req: IncomingMessage }, done: (isAdmitted: boolean) => void) =>
        void this.upgrades.admits(req).then((isAdmitted) => (isAdmitted ? done(true) : this.answer(req))),
      // `ws` would select the first offered protocol, known or not: a follow token would stand in the answer.
      handleProtocols: (offered: ReadonlySet<string>) =>
        [MULTIPLEX, PLAIN].find((protocol) => offered.has(protocol)) ?? false,
    }) as WebSocketServer;
    server.on('wsClientError', (_error, socket) =>
      answerOnSocket(socket, BAD_HANDSHAKE, { 'Sec-WebSocket-Version': '13, 8' }),
    );
    return server;
  }

  /** A refused handshake becomes an ordinary request again, so that it has an answer, a line and a metric like every other. */
  private answer(request: IncomingMessage): void {
    const socket = request.socket as Socket;
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.once('finish', () => socket.destroySoon());
    this.#server.emit('request', request, response);
  }
}

/** `ws` gives Buffers by default. */
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
