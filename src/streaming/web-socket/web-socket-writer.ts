import type { Writable } from 'node:stream';
import type { WebSocket } from 'ws';
import type { AuthContext } from '../../auth/auth-context.js';
import type { Frame, FrameName } from '#protocol/frames.js';
import type { Batch } from '../../following/batches.js';
import { closeAfter, closeAfterError } from './close-codes.js';
import type { StreamEnd } from '../connection.js';
import { WEB_SOCKET_FRAMES } from '../frames.js';
import { Pings } from './pings.js';
import { StreamWriter } from '../stream-writer.js';
import type { Subscription } from '../../following/subscription.js';

/** What the service sends besides events. */
type ServiceFrame = {
  [N in FrameName]: Frame<N> extends { readonly type: string } ? Frame<N> : never;
}[Exclude<FrameName, 'streamHeartbeat' | 'changesHeartbeat' | 'streamedChange' | 'CHANGE'>];

/** The members of a frame that its answer repeats. */
export interface ClientFrame {
  /** Absent in frames about a feed of changes. */
  readonly taskId?: string;
  readonly ref?: string;
}

/** Protocol 1.0 on a WebSocket: one task, bare envelopes, and a close code that says what the client does next. */
export class WebSocketWriter extends StreamWriter {
  readonly carriesMany: boolean = false;
  readonly #pings: Pings;
  #taskId: string | undefined;

  constructor(
    private readonly socket: WebSocket,
    maxBufferedBytes: number,
  ) {
    super('websocket', maxBufferedBytes);
    this.#pings = new Pings(socket);
    socket.once('close', () => this.end('client_left'));
  }

  override get taskId(): string | undefined {
    return this.#taskId;
  }

  override get bufferedBytes(): number {
    return this.socket.bufferedAmount;
  }

  confirm({ taskId, lastEventId, headEventId }: Subscription): void {
    this.#taskId = taskId;
    this.sendJson({
      type: 'SUBSCRIPTION_CONFIRMED',
      taskId,
      replayStartedAfterEventId: lastEventId === 0 ? null : String(lastEventId),
      live: true,
      headEventId: String(headEventId),
    });
  }

  /** Newer credentials count. */
  authenticated({ expiresAt }: AuthContext): void {
    this.sendJson({ type: 'AUTHENTICATED', ...(expiresAt && { expiresAt: expiresAt.toISOString() }) });
  }

  /** The task as it is where the subscription begins. */
  snapshot(frame: string): void {
    this.socket.send(frame);
  }

  /** Refuses a frame, or without a frame the client. */
  refuse(error: unknown, _frame?: ClientFrame): void {
    const { code, reason } = closeAfterError(error);
    this.socket.close(code, reason);
    this.end('refused');
  }

  override heartbeat(): void {
    if (this.#taskId !== undefined) this.sendJson({ type: 'HEARTBEAT', taskId: this.#taskId, live: true });
  }

  override look(now: number): void {
    super.look(now);
    if (this.why) return;
    if (this.#pings.isLost(now)) this.end('lost');
    else this.#pings.send(now);
  }

  protected override write(batch: Batch): void {
    if (this.socket.readyState === this.socket.OPEN) tcpOf(this.socket).write(WEB_SOCKET_FRAMES.of(batch));
  }

  protected override sayGoodbye(why: StreamEnd): void {
    if (why === 'lost') return this.socket.terminate();
    const { code, reason } = closeAfter(why, this.carriesMany);
    this.socket.close(code, reason);
  }

  protected sendJson(frame: ServiceFrame): void {
    this.sendText(JSON.stringify(frame));
  }

  protected sendText(frame: string): void {
    this.socket.send(frame);
  }
}

/**
 * The socket to which `ws` writes its own frames. Without compression it writes each at once and whole, so ours stand between
 * them. `ws` would make a header for every subscriber, which doubles the cost of a send.
 */
function tcpOf(socket: WebSocket): Writable {
  return (socket as unknown as { readonly _socket: Writable })._socket;
}
