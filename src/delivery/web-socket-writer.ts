import type { WebSocket } from 'ws';
import type { StoredEvent } from '../tasks/stored-event.js';
import { CLOSE_AFTER } from './close-codes.js';
import { webSocketFrame } from './frames.js';
import { StreamWriter, type StreamEnd } from './stream-writer.js';

const TEXT = { binary: false } as const;

/** Protocol 1.0 on a WebSocket: one task, the bare envelopes, and a close code that says what to do next. */
export class WebSocketWriter extends StreamWriter {
  override readonly transport = 'websocket';

  constructor(
    private readonly socket: WebSocket,
    private readonly taskId: string,
  ) {
    super();
  }

  confirm(subscription: { readonly lastEventId: number; readonly headEventId: number }): void {
    this.sendJson({
      type: 'SUBSCRIPTION_CONFIRMED',
      taskId: this.taskId,
      replayStartedAfterEventId: subscription.lastEventId === 0 ? null : String(subscription.lastEventId),
      live: true,
      headEventId: String(subscription.headEventId),
    });
  }

  override get bufferedBytes(): number {
    return this.socket.bufferedAmount;
  }

  override send(events: readonly StoredEvent[]): void {
    // Frames that are ready together leave in one write: it is the number of writes that costs.
    const tcp = events.length > 1 ? tcpOf(this.socket) : undefined;
    tcp?.cork();
    for (const event of events) this.socket.send(webSocketFrame(event), TEXT);
    tcp?.uncork();
  }

  override heartbeat(): void {
    this.sendJson({ type: 'HEARTBEAT', taskId: this.taskId, live: true });
  }

  override end(reason: StreamEnd): void {
    const { code, reason: text } = CLOSE_AFTER[reason];
    this.socket.close(code, text);
  }

  private sendJson(frame: object): void {
    this.socket.send(JSON.stringify(frame));
  }
}

/** `ws` keeps the TCP socket under a name of its own; without it there is just no coalescing. */
function tcpOf(socket: WebSocket): { cork(): void; uncork(): void } | undefined {
  return (socket as unknown as { _socket?: { cork(): void; uncork(): void } })._socket;
}
