import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Frame } from '#protocol/frames.js';
import type { AuthenticatedRequest } from '../auth/authentication.guard.js';
import type { Batch } from '../following/batches.js';
import type { StreamEnd } from './connection.js';
import { SSE_CHUNKS, SSE_FRAMES } from './frames.js';
import { comeBackAfterMs } from './return-time.js';
import { StreamWriter } from './stream-writer.js';

/** How long a client waits before it reconnects, except after a drain. */
const RETRY_MS = 2_000;
/** How long a client may take to read the end of its response before the connection is cut. */
const LINGER_MS = 10_000;

const SSE_HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
} as const;

/** What a follow token opened is kept nowhere: the token may stand in its address. */
export function sseHeadersFor({ auth }: AuthenticatedRequest): Readonly<Record<string, string>> {
  return { ...SSE_HEADERS, ...(auth?.followToken && { 'Cache-Control': 'no-store, no-transform' }) };
}

/**
 * Server-Sent Events on the raw response. Events go past it to its socket, as whole chunks between those that Node writes. Node
 * would make and write two more pieces for every client, a third of the cost of a delivery.
 */
export class SseWriter extends StreamWriter {
  readonly #isChunked: boolean;

  constructor(
    private readonly response: ServerResponse,
    override readonly taskId: string | undefined,
    maxBufferedBytes: number,
  ) {
    super('sse', maxBufferedBytes);
    this.#isChunked = response.req.httpVersion === '1.1';
    response.once('close', () => this.end('client_left'));
    if (response.destroyed) this.end('client_left');
    else this.begin();
  }

  private begin(): void {
    const { response } = this;
    response.writeHead(200, sseHeadersFor(response.req as AuthenticatedRequest));
    // The headers leave alone, in one packet with what follows: Node keeps their text until the first write joins it.
    response.cork();
    response.flushHeaders();
    response.write(`retry: ${RETRY_MS}\n\n`);
    response.uncork();
  }

  override get bufferedBytes(): number {
    return this.response.writableLength;
  }

  /** Without an `id:` line, so it moves no cursor. It has its own type, so `onmessage` does not see it. */
  override heartbeat(): void {
    if (this.taskId === undefined) return;
    const data: Frame<'streamHeartbeat'> = {
      type: 'HEARTBEAT',
      taskId: this.taskId,
      eventId: `hb-${randomUUID()}`,
      createdAt: new Date().toISOString(),
      payload: { live: true },
    };
    this.writeText(`event: heartbeat\ndata: ${JSON.stringify(data)}\n\n`);
  }

  protected writeText(text: string): void {
    if (!this.response.writableEnded) this.response.write(text);
  }

  /** The task as it is at this event. A client that reconnects resumes behind it. */
  snapshot(eventId: number, frame: string): void {
    this.response.write(`id: ${eventId}\nevent: snapshot\ndata: ${frame}\n\n`);
  }

  /** Moves the client's cursor without an event. */
  position(eventId: number): void {
    this.response.write(`id: ${eventId}\n\n`);
  }

  protected override write(batch: Batch): void {
    const { response } = this;
    // Without a connection the response waits for the answer to an earlier request, which the client pipelined.
    if (this.#isChunked && response.socket) response.socket.write(SSE_CHUNKS.of(batch));
    else response.write(SSE_FRAMES.of(batch));
  }

  protected override sayGoodbye(why: StreamEnd): void {
    if (why === 'draining') this.response.write(`retry: ${comeBackAfterMs()}\n\n`);
    const { response } = this;
    const cut = setTimeout(() => response.destroy(), LINGER_MS);
    response.end(() => clearTimeout(cut));
    response.once('close', () => clearTimeout(cut));
  }
}
