import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { StoredEvent } from '../tasks/stored-event.js';
import { sseFrame } from './frames.js';
import { StreamWriter, type StreamEnd } from './stream-writer.js';

/** What a client waits before it reconnects; */
const RETRY_MS = 2_000;
/** during a drain a random time in this range, so that all of them do not come at once. */
const DRAIN_RETRY_MS = { least: 1_000, most: 5_000 } as const;
/** A response whose client does not take its end is cut off. */
const LINGER_MS = 10_000;

const HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
} as const;

/** Server-Sent Events on the raw response. */
export class SseWriter extends StreamWriter {
  override readonly transport = 'sse';

  constructor(
    private readonly response: ServerResponse,
    private readonly taskId: string,
  ) {
    super();
    response.writeHead(200, HEADERS);
    response.write(`retry: ${RETRY_MS}\n\n`);
  }

  override get bufferedBytes(): number {
    return this.response.writableLength;
  }

  override send(events: readonly StoredEvent[]): void {
    const [first] = events;
    if (events.length === 1 && first) this.response.write(sseFrame(first));
    else this.response.write(Buffer.concat(events.map(sseFrame)));
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

  override end(reason: StreamEnd): void {
    if (reason === 'draining') {
      const { least, most } = DRAIN_RETRY_MS;
      this.response.write(`retry: ${Math.round(least + Math.random() * (most - least))}\n\n`);
    }
    const { response } = this;
    const cut = setTimeout(() => response.destroy(), LINGER_MS);
    response.end(() => clearTimeout(cut));
    response.once('close', () => clearTimeout(cut));
  }
}
