import type { ServerResponse } from 'node:http';
import type { Frame } from '#protocol/frames.js';
import type { StreamEnd } from '../connection.js';
import { SseWriter } from '../sse-writer.js';
import type { ChangeWriter } from './change-stream.js';

/** A feed of changes as Server-Sent Events. A heartbeat has an `id:` line, too: a quiet feed has a position that moves. */
export class ChangesSseWriter extends SseWriter implements ChangeWriter {
  constructor(
    response: ServerResponse,
    maxBufferedBytes: number,
    /** The cursor of the client. */
    private next: string,
  ) {
    super(response, undefined, maxBufferedBytes);
    this.heartbeat();
  }

  override heartbeat(): void {
    const data: Frame<'changesHeartbeat'> = { type: 'HEARTBEAT', next: this.next, live: true };
    this.writeText(`id: ${this.next}\nevent: heartbeat\ndata: ${JSON.stringify(data)}\n\n`);
  }

  sendChange(json: string, cursor: string): void {
    this.next = cursor;
    this.writeText(`id: ${cursor}\ndata: ${json}\n\n`);
    this.noteSent();
  }

  changesCaughtUp(next: string): void {
    this.next = next;
  }

  changesEnded(why: StreamEnd): void {
    this.end(why);
  }
}
