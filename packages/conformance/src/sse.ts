import type { ApiClient, HeaderMap } from './api-client.js';
import { Follower } from './follower.js';
import type { End } from './follower.js';

/** A block of an event stream: its fields as they came, and the `event` and `data` that an `EventSource` would make of them. */
export interface Block {
  readonly lines: readonly string[];
  readonly event: string;
  readonly data: string | undefined;
  readonly id: string | undefined;
}

export function parsedBlock(raw: string): Block {
  const lines = raw.split(/\r\n|\r|\n/).filter((line) => line !== '');
  const valuesOf = (field: string) =>
    lines.filter((line) => line.startsWith(`${field}:`)).map((line) => line.slice(field.length + 1).replace(/^ /, ''));
  const data = valuesOf('data');
  return {
    lines,
    event: valuesOf('event').at(-1) ?? 'message',
    data: data.length === 0 ? undefined : data.join('\n'),
    id: valuesOf('id').at(-1),
  };
}

export interface SseOptions {
  /** The stream of the task unless said otherwise. */
  readonly path?: string;
  readonly query?: string;
  readonly headers?: HeaderMap;
}

/** Follows by Server-Sent Events; the cursor travels as `Last-Event-ID`. */
export class SseFollower extends Follower {
  status = 0;
  headers = new Headers();

  constructor(
    client: ApiClient,
    taskId: string,
    cursor: string | undefined,
    patienceMs: number,
    { path = `/api/v1/tasks/${taskId}/events/stream`, query = '', headers = {} }: SseOptions = {},
  ) {
    super(patienceMs);
    const leave = new AbortController();
    this.onLeave(() => leave.abort());
    const sent = { Accept: 'text/event-stream', ...(cursor !== undefined && { 'Last-Event-ID': cursor }), ...headers };
    void this.read(client, path + query, { headers: sent, signal: leave.signal }).then(
      (end) => this.finish(end),
      (error: Error) => this.finish({ how: 'broken', reason: error.message, saysOver: false }),
    );
  }

  private async read(client: ApiClient, path: string, init: RequestInit): Promise<End> {
    const response = await client.open('GET', path, init);
    this.status = response.status;
    this.headers = response.headers;
    if (response.status !== 200 || response.body === null) {
      const reason = await response.text();
      return { how: 'status', code: response.status, reason, saysOver: response.status === 204 };
    }
    let rest = '';
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + text).split(/(?<=\n\n|\r\n\r\n|\r\r)/);
      rest = /(\n\n|\r\n\r\n|\r\r)$/.test(blocks.at(-1) ?? '') ? '' : (blocks.pop() ?? '');
      for (const block of blocks) this.block(block);
    }
    return { how: 'ended', saysOver: this.hasTerminal };
  }

  private block(raw: string): void {
    const { event, data } = parsedBlock(raw);
    this.receive(raw, event === 'message' && data !== undefined ? [data] : []);
  }
}
