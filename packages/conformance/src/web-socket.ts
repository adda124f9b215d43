import { WebSocket } from 'ws';
import { CLOSE_CODES } from '../../protocol/src/close-codes.js';
import { type Frame as FrameOf, MULTIPLEX } from '../../protocol/src/frames.js';
import type { ApiClient, HeaderMap } from './api-client.js';
import { Broken } from './outcomes.js';
import { shortened } from './demands.js';
import { Follower } from './follower.js';

export const HEARTBEAT: FrameOf<'heartbeat'>['type'] = 'HEARTBEAT';

/** A frame of the server: an event, or one that says something of a subscription or of the connection. */
export interface Frame {
  readonly type: string;
  readonly taskId?: string;
  readonly eventId?: string;
  readonly headEventId?: string;
  readonly ref?: string;
  readonly code?: string;
  readonly reason?: string;
  /** The text of the frame as it came. */
  readonly raw: string;
}

export interface SocketOptions {
  readonly path?: string;
  readonly protocols?: readonly string[];
  readonly headers?: HeaderMap;
  /** When false, the client answers no ping. */
  readonly answersPings?: boolean;
}

/** One WebSocket, and all that came over it. */
export class Socket {
  readonly frames: Frame[] = [];
  pings = 0;
  /** 1006 when there was no close frame. */
  closed: { readonly code: number; readonly reason: string } | undefined;
  /** The HTTP answer that refused the upgrade. */
  refused: { readonly status: number; readonly text: string } | undefined;
  readonly #socket: WebSocket;
  readonly #watchers = new Set<() => void>();

  constructor(
    client: ApiClient,
    private readonly patienceMs: number,
    { path = '/api/v1/tasks/ws', protocols = [], headers = {}, answersPings = true }: SocketOptions = {},
  ) {
    this.#socket = new WebSocket(`${client.baseUrl.replace(/^http/, 'ws')}${path}`, [...protocols], {
      headers: { ...client.credentials, ...headers },
      perMessageDeflate: false,
      autoPong: answersPings,
      handshakeTimeout: 10_000,
    });
    const socket = this.#socket;
    socket.on('open', () => this.notify());
    socket.on('ping', () => {
      this.pings += 1;
      this.notify();
    });
    socket.on('message', (data: Buffer) => {
      const raw = data.toString('utf8');
      this.frames.push({ ...(JSON.parse(raw) as Omit<Frame, 'raw'>), raw });
      this.notify();
    });
    socket.on('unexpected-response', (request, response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      response.on('close', () => {
        this.refused = { status: response.statusCode ?? 0, text };
        this.notify();
        request.destroy();
      });
    });
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.notify();
    });
    // An error is followed by the close.
    socket.on('error', () => {});
  }

  /** A frame without a mask, which RFC 6455 forbids to clients. */
  sendUnmasked(): void {
    const { _socket: tcp } = this.#socket as unknown as { readonly _socket: { write(bytes: Uint8Array): void } };
    tcp.write(Uint8Array.of(0x81, 0x01, 0x78));
  }

  get protocol(): string {
    return this.#socket.protocol;
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }

  /** The frames about one task, in order. */
  of(taskId: string): readonly Frame[] {
    return this.frames.filter((frame) => frame.taskId === taskId);
  }

  async opened(): Promise<this> {
    await this.until(() => this.isOpen, 'the opening of the WebSocket');
    return this;
  }

  send(frame: object): void {
    this.#socket.send(JSON.stringify(frame));
  }

  /** These very bytes as one frame. */
  sendBytes(bytes: Buffer | string, binary = false): void {
    this.#socket.send(typeof bytes === 'string' ? Buffer.from(bytes) : bytes, { binary });
  }

  subscribe(taskId: string, members: object = {}): void {
    this.send({ action: 'subscribe', taskId, ...members });
  }

  unsubscribe(taskId: string): void {
    this.send({ action: 'unsubscribe', taskId });
  }

  /** Resolves with the first frame that fits. */
  async frame(what: string, fits: (frame: Frame) => boolean, withinMs = this.patienceMs): Promise<Frame> {
    await this.until(() => this.frames.some(fits), what, withinMs);
    return this.frames.find(fits) as Frame;
  }

  async close(withinMs = this.patienceMs): Promise<{ readonly code: number; readonly reason: string }> {
    await this.until(() => this.closed !== undefined, 'the close', withinMs);
    return this.closed as { code: number; reason: string };
  }

  /** @throws Broken when it does not come to hold within the patience, or the socket closes before */
  async until(holds: () => boolean, what: string, withinMs = this.patienceMs): Promise<void> {
    if (await this.comes(holds, withinMs)) return;
    const last = this.frames.slice(-3).map(({ raw }) => shortened(raw, 200));
    const state =
      this.closed === undefined ? 'the WebSocket is not closed' : `closed with ${JSON.stringify(this.closed)}`;
    const refused = this.refused === undefined ? '' : `, refused with ${JSON.stringify(this.refused)}`;
    throw new Broken(
      `${what} did not come within ${withinMs} ms: ${state}${refused}, ${this.frames.length} frames, last: ${last.join(' | ')}`,
    );
  }

  /** Whether it came to hold within the time. */
  async comes(holds: () => boolean, withinMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (held: boolean) => {
        clearTimeout(timer);
        this.#watchers.delete(watch);
        resolve(held);
      };
      const watch = () => {
        if (holds()) settle(true);
        else if (this.closed !== undefined) settle(false);
      };
      const timer = setTimeout(() => settle(false), withinMs);
      this.#watchers.add(watch);
      watch();
    });
  }

  leave(): void {
    this.#socket.terminate();
  }

  private notify(): void {
    for (const watch of [...this.#watchers]) watch();
  }
}

/** Follows one task over a WebSocket of its own, with or without the subprotocol. */
export class WebSocketFollower extends Follower {
  constructor(
    client: ApiClient,
    taskId: string,
    cursor: string | undefined,
    patienceMs: number,
    { multiplex }: { multiplex: boolean },
  ) {
    super(patienceMs);
    const socket = new Socket(client, patienceMs, multiplex ? { protocols: [MULTIPLEX] } : {});
    this.onLeave(() => socket.leave());
    void this.read(socket, taskId, cursor).catch((error: Error) =>
      this.finish({ how: 'broken', reason: error.message, saysOver: false }),
    );
  }

  private async read(socket: Socket, taskId: string, cursor: string | undefined): Promise<void> {
    await socket.opened();
    socket.subscribe(taskId, cursor === undefined ? {} : { lastEventId: cursor });
    let seen = 0;
    await socket.comes(
      () => {
        for (const frame of socket.frames.slice(seen)) this.frame(frame, socket);
        seen = socket.frames.length;
        return this.end !== undefined;
      },
      2 ** 31 - 1,
    );
    const { code, reason } = socket.closed ?? { code: 1006, reason: '' };
    this.finish(
      code === 1006
        ? { how: 'broken', saysOver: false }
        : { how: 'closed', code, reason, saysOver: code === CLOSE_CODES.over.code },
    );
  }

  private frame(frame: Frame, socket: Socket): void {
    const isEvent = frame.eventId !== undefined && frame.type !== HEARTBEAT;
    this.receive(frame.raw, isEvent ? [frame.raw] : []);
    const { type, reason = '', code = '' } = frame;
    if (type === 'SUBSCRIPTION_ENDED') this.finish({ how: 'ended', reason, saysOver: reason === 'terminal' });
    else if (type === 'ERROR') this.finish({ how: 'status', reason: code, saysOver: false });
    else return;
    socket.leave();
  }
}
