import { get, type IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';

/** An event envelope exactly as it was delivered. */
export interface Delivered {
  readonly eventId: string;
  readonly raw: string;
}

/**
 * How a stream ended: `close` a WebSocket close frame, `end` the regular end of an SSE response, `terminal` a long-poll page
 * that says so, `status` an HTTP answer that opens no stream (its body is the reason), `broken` a connection that
 * was cut, `left` the reader itself closed it.
 */
export interface Ended {
  readonly kind: 'close' | 'end' | 'terminal' | 'status' | 'broken' | 'left';
  readonly code?: number;
  readonly reason?: string;
}

export type Headers = Readonly<Record<string, string>>;

/** The events of one task that one client got over one connection. */
export class Reader {
  readonly events: Delivered[] = [];
  /** Everything that arrived, in order: WebSocket frames, SSE blocks, long-poll bodies. */
  readonly frames: string[] = [];
  readonly ended: Promise<Ended>;
  /** The same, once it has happened. */
  outcome?: Ended;
  readonly #watchers = new Set<() => void>();
  #settle: (ended: Ended) => void = () => {};
  #leave: () => void = () => {};

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /** Resolves as soon as the predicate holds; fails when the stream ends first or the deadline passes. */
  async waitFor(predicate: (reader: Reader) => boolean, deadlineMs = 30_000): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const settle = (action: () => void) => {
        clearTimeout(timer);
        this.#watchers.delete(watch);
        action();
      };
      const watch = () => {
        if (predicate(this)) settle(resolve);
        else if (this.outcome !== undefined) settle(() => reject(this.#describe('the stream ended')));
      };
      const timer = setTimeout(
        () => settle(() => reject(this.#describe(`nothing within ${deadlineMs} ms`))),
        deadlineMs,
      );
      this.#watchers.add(watch);
      watch();
    });
  }

  /** The end of the stream, or a failure at the deadline. */
  async end(deadlineMs = 30_000): Promise<Ended> {
    await this.waitFor(() => this.outcome !== undefined, deadlineMs);
    return this.ended;
  }

  close(): void {
    this.finish({ kind: 'left' });
    this.#leave();
  }

  onLeave(leave: () => void): void {
    this.#leave = leave;
  }

  receive(frame: string, envelopes: readonly string[]): void {
    if (this.outcome !== undefined) return;
    this.frames.push(frame);
    for (const raw of envelopes) this.events.push({ eventId: (JSON.parse(raw) as Delivered).eventId, raw });
    this.#notify();
  }

  finish(ended: Ended): void {
    if (this.outcome !== undefined) return;
    this.outcome = ended;
    this.#settle(ended);
    this.#notify();
  }

  #notify(): void {
    for (const watch of [...this.#watchers]) watch();
  }

  #describe(why: string): Error {
    const seen = `${this.events.length} events, last frames ${JSON.stringify(this.frames.slice(-3))}`;
    return new Error(`${why}: ${JSON.stringify(this.outcome)}, ${seen}`);
  }
}

type Follow = (url: string, taskId: string, lastEventId?: string | null, headers?: Headers) => Reader;

/** Opens the WebSocket without a subprotocol and subscribes with its first frame. */
export const followWebSocket: Follow = (url, taskId, lastEventId, headers = {}) => {
  const reader = new Reader();
  const socket = openWebSocket(url, headers);
  socket.on('open', () => {
    socket.send(JSON.stringify({ action: 'subscribe', taskId, ...(lastEventId !== undefined && { lastEventId }) }));
  });
  return recordWebSocket(socket, reader);
};

export function openWebSocket(url: string, headers: Headers = {}, path = '/api/v1/tasks/ws'): WebSocket {
  return new WebSocket(`${url.replace(/^http/, 'ws')}${path}`, { headers, perMessageDeflate: false });
}

export function recordWebSocket(socket: WebSocket, reader = new Reader()): Reader {
  reader.onLeave(() => socket.terminate());
  socket.on('message', (data: Buffer) => {
    const raw = data.toString('utf8');
    reader.receive(raw, isEnvelope(raw) ? [raw] : []);
  });
  socket.on('unexpected-response', (_request, response: IncomingMessage) => {
    void textOf(response).then((reason) => {
      reader.finish({ kind: 'status', code: response.statusCode ?? 0, reason });
      socket.terminate();
    });
  });
  // 1006 is what `ws` reports when there was no close frame.
  socket.on('close', (code, reason) => {
    reader.finish(code === 1006 ? { kind: 'broken' } : { kind: 'close', code, reason: reason.toString() });
  });
  socket.on('error', () => {});
  return reader;
}

/** Follows by server-sent events, parsed from the raw bytes; the cursor travels as `Last-Event-ID`. */
export const followSse: Follow = (url, taskId, lastEventId, headers = {}) => {
  const cursor = lastEventId === undefined || lastEventId === null ? {} : { 'Last-Event-ID': lastEventId };
  return followSseAt(`${url}/api/v1/tasks/${taskId}/events/stream`, { ...headers, ...cursor });
};

export function followSseAt(address: string, headers: Headers = {}): Reader {
  const reader = new Reader();
  const request = get(address, { agent: false, headers: { Accept: 'text/event-stream', ...headers } }, (response) => {
    if (response.statusCode !== 200) {
      void textOf(response).then((reason) => reader.finish({ kind: 'status', code: response.statusCode ?? 0, reason }));
      return;
    }
    const parser = new SseParser();
    response.on('data', (bytes: Buffer) => {
      for (const block of parser.feed(bytes)) {
        const { message } = block;
        reader.receive(block.raw, message !== undefined && message.event === 'message' ? [message.data] : []);
      }
    });
    response.on('end', () => reader.finish({ kind: 'end' }));
    response.on('error', () => reader.finish({ kind: 'broken' }));
  });
  request.on('error', () => reader.finish({ kind: 'broken' }));
  reader.onLeave(() => request.destroy());
  return reader;
}

/** Follows by long-poll, page after page from the cursor each page names, until a page is terminal. */
export const followLongPoll: Follow = (url, taskId, lastEventId, headers = {}) => {
  const reader = new Reader();
  const leave = new AbortController();
  reader.onLeave(() => leave.abort());
  void (async () => {
    let cursor = lastEventId ?? undefined;
    for (;;) {
      const query = cursor === undefined ? '' : `?${new URLSearchParams({ afterEventId: cursor })}`;
      const response = await fetch(`${url}/api/v1/tasks/${taskId}/events${query}`, { headers, signal: leave.signal });
      const text = await response.text();
      if (response.status !== 200) return reader.finish({ kind: 'status', code: response.status, reason: text });
      const page = JSON.parse(text) as { nextAfterEventId?: string; hasMore: boolean; terminal: boolean };
      reader.receive(text, rawElements(text, 'events'));
      if (page.terminal) return reader.finish({ kind: 'terminal' });
      cursor = page.nextAfterEventId;
    }
  })().catch(() => reader.finish({ kind: 'broken' }));
  return reader;
};

export const transports = { WebSocket: followWebSocket, SSE: followSse, 'long-poll': followLongPoll } as const;

/**
 * Reads a task to its terminal event while it changes the transport after random numbers of events, resuming each time from
 * the last id it kept. Equal seeds make equal choices. Returns the joined envelopes.
 */
export async function followSwitching(
  url: string,
  taskId: string,
  options: { readonly seed: number; readonly headers?: Headers; readonly maxRun?: number },
): Promise<string[]> {
  const random = seededRandom(options.seed);
  const choices = Object.values(transports);
  const kept: Delivered[] = [];
  for (;;) {
    const follow = choices[Math.floor(random() * choices.length)] ?? followWebSocket;
    const wanted = 1 + Math.floor(random() * (options.maxRun ?? 40));
    const reader = follow(url, taskId, kept.at(-1)?.eventId, options.headers);
    await reader.waitFor(({ events, outcome }) => events.length >= wanted || outcome !== undefined);
    reader.close();
    // A client keeps the handled events. Others that were under way when it left come again.
    kept.push(...reader.events.slice(0, wanted));
    const last = kept.at(-1);
    if (last !== undefined && isTerminal(last.raw)) return kept.map(({ raw }) => raw);
    const { outcome } = reader;
    if (outcome?.kind === 'status') throw new Error(`refused with ${outcome.code}: ${outcome.reason}`);
  }
}

export function isTerminal(raw: string): boolean {
  return ['TASK_COMPLETED', 'TASK_FAILED', 'TASK_CANCELLED'].includes((JSON.parse(raw) as { type: string }).type);
}

/** Mulberry32: a run that failed can be repeated by its seed. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface SseMessage {
  readonly event: string;
  readonly data: string;
  /** The last event id after this message, as an `EventSource` would resume from it. */
  readonly lastEventId: string;
}

export interface SseBlock {
  readonly raw: string;
  /** Absent for a block without data, such as a lone `retry:` or comment. */
  readonly message?: SseMessage;
}

/** The parser of the HTML standard (server-sent events, 9.2.6), over bytes cut anywhere. */
export class SseParser {
  // Fatal: a replacement character would hide that bytes were damaged. A leading BOM is dropped by the decoder.
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  #pending = '';
  #lines: string[] = [];
  #lastEventId = '';

  feed(bytes: Uint8Array): SseBlock[] {
    this.#pending += this.#decoder.decode(bytes, { stream: true });
    const blocks: SseBlock[] = [];
    for (;;) {
      // A CR at the very end may be half of a CRLF: it waits for the next byte.
      const end = /\r\n|\n|\r(?!$)/.exec(this.#pending);
      if (end === null) return blocks;
      const line = this.#pending.slice(0, end.index);
      this.#pending = this.#pending.slice(end.index + end[0].length);
      if (line !== '') this.#lines.push(line);
      else if (this.#lines.length > 0) blocks.push(this.#dispatch());
    }
  }

  #dispatch(): SseBlock {
    const raw = this.#lines.join('\n');
    const data: string[] = [];
    let event = 'message';
    for (const line of this.#lines) {
      const [, field = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
      if (field === 'data') data.push(value);
      else if (field === 'event') event = value === '' ? 'message' : value;
      else if (field === 'id' && !value.includes('\0')) this.#lastEventId = value;
    }
    this.#lines = [];
    if (data.length === 0) return { raw };
    return { raw, message: { event, data: data.join('\n'), lastEventId: this.#lastEventId } };
  }
}

/** The exact text of each object in the array that the member `name` of a JSON document holds. */
export function rawElements(json: string, name: string): string[] {
  const start = json.indexOf(`"${name}":[`);
  if (start < 0) throw new Error(`no array ${name} in ${json.slice(0, 200)}`);
  const elements: string[] = [];
  let depth = 0;
  let elementStart = 0;
  let inString = false;
  for (let at = start + name.length + 4; at < json.length; at++) {
    const character = json[at];
    if (inString) {
      if (character === '\\') at++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === '{' || character === '[') {
      if (depth++ === 0) elementStart = at;
    } else if (character === '}' || character === ']') {
      if (depth === 0) return elements;
      if (--depth === 0) elements.push(json.slice(elementStart, at + 1));
    }
  }
  throw new Error(`the array ${name} does not end`);
}

function isEnvelope(raw: string): boolean {
  const { type } = JSON.parse(raw) as { type: string };
  return type !== 'HEARTBEAT' && type !== 'SUBSCRIPTION_CONFIRMED';
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
