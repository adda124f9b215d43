import { get, type IncomingMessage } from 'node:http';
import type { Headers } from './follow.js';
import { MultiplexClient } from './multiplex-client.js';

/** A change as it was delivered. */
export interface SeenChange {
  readonly cursor: string;
  readonly task?: { readonly taskId: string; readonly status: string; readonly [member: string]: unknown };
  readonly taskId?: string;
  readonly removed?: true;
  readonly left?: true;
}

/** Members of a query or a frame. */
export type Wanted = Readonly<Record<string, string | boolean | Readonly<Record<string, string>>>>;

/** A client of one feed, over one connection after the other. It keeps its cursor. */
export abstract class FeedReader {
  readonly changes: SeenChange[] = [];
  /** The changes that came in a frame each, by their size. */
  readonly frames: { readonly bytes: number }[] = [];
  /** A refusal, or the reason for the end. */
  refusal: string | undefined;
  readonly #watchers = new Set<() => void>();

  constructor(
    protected url: string,
    protected readonly headers: Headers,
    protected readonly wanted: Wanted = {},
    public cursor: string | undefined = undefined,
  ) {}

  /** Begins a connection at the cursor; resolves when the service has confirmed it, or refused. */
  abstract connect(): Promise<void>;
  /** Cuts the connection. */
  abstract drop(): void;

  /** Goes on at another replica, or the same. */
  async resume(url = this.url): Promise<void> {
    this.drop();
    this.url = url;
    await this.connect();
  }

  /** The newest state of each task, as the client has it: a status, `removed` or `left`. */
  get states(): Record<string, string> {
    return Object.fromEntries(
      this.changes.map(({ task, taskId = '', removed }) =>
        task ? [task.taskId, task.status] : [taskId, removed ? 'removed' : 'left'],
      ),
    );
  }

  /** What it got, as the checker reads it. @param scope `owner`, `tenant` or `all` */
  history(subscriber: string, scope: object): object[] {
    const told = this.changes.map((change) => ({ kind: 'change', subscriber, raw: JSON.stringify(change) }));
    return [{ kind: 'feed', subscriber, ...scope }, ...told];
  }

  /** All states of one task, in the order in which they came. */
  of(taskId: string): readonly SeenChange[] {
    return this.changes.filter((change) => (change.task?.taskId ?? change.taskId) === taskId);
  }

  async until(what: string, holds: () => boolean, deadlineMs = 30_000): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const settle = (action: () => void) => {
        clearTimeout(timer);
        this.#watchers.delete(watch);
        action();
      };
      const watch = () => holds() && settle(resolve);
      const failed = () =>
        new Error(`not within ${deadlineMs} ms: ${what}; ${this.refusal}; ${JSON.stringify(this.changes.slice(-3))}`);
      const timer = setTimeout(() => settle(() => reject(failed())), deadlineMs);
      this.#watchers.add(watch);
      watch();
    });
  }

  protected receive(changes: readonly SeenChange[], next?: string): void {
    this.changes.push(...changes);
    this.cursor = next ?? changes.at(-1)?.cursor ?? this.cursor;
    this.notify();
  }

  protected notify(): void {
    for (const watch of [...this.#watchers]) watch();
  }

  protected get query(): string {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(this.wanted)) {
      query.append(name, typeof value === 'object' ? JSON.stringify(value) : String(value));
    }
    if (this.cursor !== undefined) query.set('after', this.cursor);
    return query.size > 0 ? `?${query.toString()}` : '';
  }
}

/** Asks again and again. */
export class PollingReader extends FeedReader {
  #turn = 0;
  #left = new AbortController();

  override async connect(): Promise<void> {
    const turn = ++this.#turn;
    this.#left = new AbortController();
    if (!(await this.ask(turn, 0))) return;
    void this.go(turn);
  }

  override drop(): void {
    this.#turn += 1;
    this.#left.abort();
  }

  private async go(turn: number): Promise<void> {
    while (turn === this.#turn && (await this.ask(turn, 20_000)));
  }

  /** Whether to go on. */
  private async ask(turn: number, waitTimeoutMs: number): Promise<boolean> {
    const query = this.query;
    const path = `${this.url}/api/v1/tasks/changes${query}${query === '' ? '?' : '&'}waitTimeoutMs=${waitTimeoutMs}`;
    try {
      const response = await fetch(path, { headers: this.headers, signal: this.#left.signal });
      const text = await response.text();
      if (turn !== this.#turn) return false;
      if (response.status !== 200) {
        this.refusal = `${response.status} ${text}`;
        this.notify();
        return false;
      }
      const { changes, next } = JSON.parse(text) as { changes: readonly SeenChange[]; next: string };
      this.receive(changes, next);
      return true;
    } catch {
      if (turn === this.#turn) this.refusal ??= 'broken';
      this.notify();
      return false;
    }
  }
}

export class SseReader extends FeedReader {
  #end: () => void = () => {};
  /** The blocks as they came. */
  readonly blocks: string[] = [];

  override connect(): Promise<void> {
    return new Promise((resolve) => {
      const { cursor } = this;
      const headers = { ...this.headers, ...(cursor !== undefined && { 'Last-Event-ID': cursor }) };
      this.cursor = undefined;
      const path = `${this.url}/api/v1/tasks/changes/stream${this.query}`;
      this.cursor = cursor;
      const request = get(path, { headers, agent: false }, (response) => this.take(response, resolve));
      request.on('error', () => this.finish('broken', resolve));
      let isCurrent = true;
      this.#end = () => {
        isCurrent = false;
        request.destroy();
      };
      this.#isCurrent = () => isCurrent;
    });
  }

  #isCurrent: () => boolean = () => false;

  override drop(): void {
    this.#end();
  }

  private take(response: IncomingMessage, confirmed: () => void): void {
    const isCurrent = this.#isCurrent;
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      if (!isCurrent()) return;
      text += chunk;
      if (response.statusCode !== 200) return;
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) this.block(block, confirmed);
    });
    response.on('end', () => {
      if (isCurrent()) this.finish(response.statusCode === 200 ? 'end' : `${response.statusCode} ${text}`, confirmed);
    });
    response.on('error', () => isCurrent() && this.finish('broken', confirmed));
  }

  private block(block: string, confirmed: () => void): void {
    this.blocks.push(block);
    const line = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
    const id = line('id');
    if (id === undefined) return;
    confirmed();
    if (line('event') !== undefined) return this.receive([], id);
    this.frames.push({ bytes: Buffer.byteLength(block) + 2 });
    this.receive([JSON.parse(line('data') ?? '') as SeenChange], id);
  }

  private finish(why: string, confirmed: () => void): void {
    this.refusal = why;
    confirmed();
    this.notify();
  }
}

class MultiplexReader extends FeedReader {
  client: MultiplexClient | undefined;

  override async connect(): Promise<void> {
    const client = await MultiplexClient.open(this.url, this.headers);
    this.client = client;
    client.onFrame((frame) => {
      if (this.client !== client) return;
      const { type, raw } = frame;
      if (type === 'CHANGE') {
        this.frames.push({ bytes: Buffer.byteLength(raw) });
        this.receive([JSON.parse(raw) as SeenChange]);
      } else if (type === 'CHANGES_CONFIRMED' || type === 'CHANGES_CAUGHT_UP') {
        this.receive([], (JSON.parse(raw) as { next: string }).next);
      } else if (type === 'ERROR') this.refusal = `${frame.code}`;
      this.notify();
    });
    const after = this.cursor === undefined ? {} : { after: this.cursor };
    client.send({ action: 'subscribe_changes', ...this.wanted, ...after });
    await client.frame(({ type }) => type === 'CHANGES_CONFIRMED' || type === 'ERROR');
  }

  override drop(): void {
    this.client?.leave();
    this.client = undefined;
  }
}

export const FEED_READERS = { long_poll: PollingReader, sse: SseReader, websocket: MultiplexReader } as const;
