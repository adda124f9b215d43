import { connect, type Socket } from 'node:net';
import { EventIds } from './event-ids.js';

export interface Target {
  readonly url: string;
  readonly transport: 'websocket' | 'sse';
  readonly taskId: string;
  readonly lastEventId: number;
  /** The address that it connects from, where it is not the usual one. */
  readonly from?: string;
}

/** Shared by all: each has finished with it before the next one reads. */
const READ_BUFFER = Buffer.allocUnsafeSlow(256 * 1024);
/** Final, masked, empty. */
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);
const CONFIRMED = { websocket: '"SUBSCRIPTION_CONFIRMED"', sse: 'retry:' } as const;

/** One client of one task on a bare TCP socket, as cheap as a client can be. It notices a missing event. */
export class Subscriber {
  last: number;
  readonly confirmed: Promise<void>;
  #socket: Socket;
  #isConfirmed = false;
  #isClosing = false;

  constructor(
    target: Target,
    received: (subscriber: Subscriber, eventId: number) => void,
    broken: (why: string) => void,
    /** Gets all that came, also what is no event. */
    tap: (chunk: Buffer) => void = () => undefined,
  ) {
    this.last = target.lastEventId;
    const { hostname, port } = new URL(target.url);
    const ids = new EventIds((eventId) => {
      if (eventId !== this.last + 1) broken(`event ${eventId} came after ${this.last} of task ${target.taskId}`);
      this.last = eventId;
      received(this, eventId);
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.confirmed = promise;
    let head = '';
    const read = (chunk: Buffer): void => {
      if (!this.#isConfirmed) {
        const wasEmpty = !head.includes('\r\n\r\n');
        head += chunk.toString('latin1');
        if (wasEmpty && head.includes('\r\n\r\n')) {
          if (!/^HTTP\/1\.1 (101|200) /.test(head)) return reject(new Error(`refused: ${head}`));
          if (target.transport === 'websocket') this.#socket.write(subscribeFrame(target));
        }
        this.#isConfirmed = head.includes(CONFIRMED[target.transport]);
        if (this.#isConfirmed) {
          head = '';
          resolve();
        }
      }
      ids.read(chunk);
      tap(chunk);
    };
    this.#socket = connect({
      host: hostname,
      port: Number(port),
      ...(target.from !== undefined && { localAddress: target.from }),
      noDelay: true,
      onread: {
        buffer: READ_BUFFER,
        callback: (bytes, buffer) => {
          read((buffer as Buffer).subarray(0, bytes));
          return true;
        },
      },
    });
    this.#socket.once('connect', () => this.#socket.write(requestOf(target)));
    this.#socket.on('error', reject);
    this.#socket.once('close', () => {
      reject(new Error('closed'));
      if (!this.#isClosing) broken(`the connection to task ${target.taskId} was closed`);
    });
  }

  /** A server that asks now and then whether somebody is there need not be listened to for that: RFC 6455, 5.5.3. */
  pong(): void {
    if (this.#isConfirmed) this.#socket.write(PONG);
  }

  close(): void {
    this.#isClosing = true;
    this.#socket.resetAndDestroy();
  }
}

function requestOf({ transport, taskId, lastEventId }: Target): string {
  if (transport === 'sse') {
    const cursor = lastEventId > 0 ? `?lastEventId=${lastEventId}` : '';
    return `GET /api/v1/tasks/${taskId}/events/stream${cursor} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n`;
  }
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13';
  return `GET /api/v1/tasks/ws HTTP/1.1\r\nHost: bench\r\n${upgrade}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
}

/** RFC 6455, 5.2: text, final, masked (with zeros) as a client's frames must be. */
function subscribeFrame({ taskId, lastEventId }: Target): Buffer {
  const frame = { action: 'subscribe', taskId, ...(lastEventId > 0 && { lastEventId: String(lastEventId) }) };
  const text = Buffer.from(JSON.stringify(frame));
  const head =
    text.length < 126 ? [0x81, 0x80 | text.length] : [0x81, 0x80 | 126, text.length >> 8, text.length & 0xff];
  return Buffer.concat([Buffer.from(head), Buffer.alloc(4), text]);
}
