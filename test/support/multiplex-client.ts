import { once } from 'node:events';
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import type { Headers } from './follow.js';

export const SUBPROTOCOL = 'taskbridge.multiplex.v1';

/** A frame of the server: an event, or news of a subscription or of the connection. */
export interface Frame {
  readonly type: string;
  readonly taskId?: string;
  readonly eventId?: string;
  readonly ref?: string;
  readonly code?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly headEventId?: string;
  readonly afterMs?: number;
  /** The text as it came. */
  readonly raw: string;
}

export interface Closed {
  /** 1006 when there was no close frame. */
  readonly code: number;
  readonly reason: string;
}

/** One connection that follows many tasks. */
export class MultiplexClient {
  readonly frames: Frame[] = [];
  closed?: Closed;
  readonly #watchers = new Set<() => void>();

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data: Buffer) => {
      const raw = data.toString('utf8');
      const frame = { ...(JSON.parse(raw) as Omit<Frame, 'raw'>), raw };
      this.frames.push(frame);
      this.#listener(frame);
      this.#notify();
    });
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.#notify();
    });
    socket.on('error', () => {});
  }

  #listener: (frame: Frame) => void = () => {};

  /** Calls it for each frame from now on. */
  onFrame(listener: (frame: Frame) => void): void {
    this.#listener = listener;
  }

  /** `autoPong: false` makes a client that answers no ping. */
  static async open(url: string, headers: Headers, options: { autoPong?: boolean } = {}): Promise<MultiplexClient> {
    const address = `${url.replace(/^http/, 'ws')}/api/v1/tasks/ws`;
    const socket = new WebSocket(address, [SUBPROTOCOL], { headers, perMessageDeflate: false, ...options });
    const client = new MultiplexClient(socket);
    await once(socket, 'open');
    return client;
  }

  send(frame: unknown): void {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  /** Sends all frames in one piece, so the service reads all of them before it can answer one. */
  together(send: () => void): void {
    const { _socket: tcp } = this.socket as unknown as { _socket: Socket };
    tcp.cork();
    send();
    tcp.uncork();
  }

  subscribe(taskId: string, members: { lastEventId?: string | null; from?: string; ref?: string } = {}): void {
    this.send({ action: 'subscribe', taskId, ...members });
  }

  unsubscribe(taskId: string): void {
    this.send({ action: 'unsubscribe', taskId });
  }

  /** The frames about one task, in order. */
  of(taskId: string): Frame[] {
    return this.frames.filter((frame) => frame.taskId === taskId);
  }

  /** The envelopes of one task as they came. */
  envelopes(taskId: string): string[] {
    return this.of(taskId).flatMap(({ eventId, raw }) => (eventId === undefined ? [] : [raw]));
  }

  ended(taskId: string): boolean {
    return this.of(taskId).some(({ type }) => type === 'SUBSCRIPTION_ENDED');
  }

  /** The first frame that fits, when it has come. */
  async frame(fits: (frame: Frame) => boolean, deadlineMs = 30_000): Promise<Frame> {
    let found: Frame | undefined;
    await this.until(() => (found = this.frames.find(fits)) !== undefined, deadlineMs);
    return found as Frame;
  }

  async close(deadlineMs = 30_000): Promise<Closed> {
    await this.until(() => this.closed !== undefined, deadlineMs);
    return this.closed as Closed;
  }

  /** Fails when the connection is closed first, or the deadline passes. */
  async until(holds: () => boolean, deadlineMs = 30_000): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const settle = (action: () => void) => {
        clearTimeout(timer);
        this.#watchers.delete(watch);
        action();
      };
      const failed = (why: string) => {
        const last = this.frames.slice(-3).map(({ raw }) => raw.slice(0, 200));
        return new Error(
          `${why}: ${JSON.stringify(this.closed)}, ${this.frames.length} frames, last ${last.join(' ')}`,
        );
      };
      const watch = () => {
        if (holds()) settle(resolve);
        else if (this.closed !== undefined) settle(() => reject(failed('the connection was closed')));
      };
      const timer = setTimeout(() => settle(() => reject(failed(`not within ${deadlineMs} ms`))), deadlineMs);
      this.#watchers.add(watch);
      watch();
    });
  }

  leave(): void {
    this.socket.terminate();
  }

  #notify(): void {
    for (const watch of [...this.#watchers]) watch();
  }
}
