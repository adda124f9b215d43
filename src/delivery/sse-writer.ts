import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Batch } from './batches.js';
import type { StreamEnd } from './connection.js';
import { SSE_FRAMES } from './frames.js';
import { comeBackAfterMs } from './return-time.js';
import { StreamWriter } from './stream-writer.js';

/** What a client waits before it reconnects, unless it is sent away. */
const RETRY_MS = 2_000;
/** A response whose client does not take its end is cut off. */
const LINGER_MS = 10_000;

export const SSE_HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
} as const;

/** Server-Sent Events on the raw response. */
export class SseWriter extends StreamWriter {
  constructor(
    private readonly response: ServerResponse,
    override readonly taskId: string,
    maxBufferedBytes: number,
  ) {
    super('sse', maxBufferedBytes);
    response.once('close', () => this.end('client_left'));
    if (response.destroyed) this.end('client_left');
    else this.begin();
  }

  private begin(): void {
    const { response } = this;
    response.writeHead(200, SSE_HEADERS);
    // By themselves, in one packet with what follows: Node keeps the headers' text, which only writing makes one piece.
    response.cork();
    response.flushHeaders();
    response.write(`retry: ${RETRY_MS}\n\n`);
    response.uncork();
  }

  override get bufferedBytes(): number {
    return this.response.writableLength;
  }

  /** Without an `id:` line, so that it moves nobody's cursor; a type of its own, so that `onmessage` does not see it. */
  override heartbeat(): void {
    const data = {
      type: 'HEARTBEAT',
      taskId: this.taskId,
      eventId: `hb-${randomUUID()}`,
      createdAt: new Date().toISOString(),
      payload: { live: true },
    };
    this.response.write(`event: heartbeat\ndata: ${JSON.stringify(data)}\n\n`);
  }

  protected override write(batch: Batch): void {
    this.response.write(SSE_FRAMES.of(batch));
  }

  protected override sayGoodbye(why: StreamEnd): void {
    if (why === 'draining') this.response.write(`retry: ${comeBackAfterMs()}\n\n`);
    const { response } = this;
    const cut = setTimeout(() => response.destroy(), LINGER_MS);
    response.end(() => clearTimeout(cut));
    response.once('close', () => clearTimeout(cut));
  }
}
