import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { storedJson } from '#protocol/exact-json.js';
import type { WebSocket } from 'ws';
import type { Json, MemoryTask } from './memory-task.js';
import type { Caller, FollowToken, MemoryTokens } from './memory-tokens.js';
import { invalidRequest, Refusal } from './refusal.js';

export type Transport = 'sse' | 'websocket' | 'multiplex' | 'poll';

export interface Clocks {
  readonly heartbeatMs: number;
  readonly pingMs: number;
  readonly pongMs: number;
  readonly subscribeMs: number;
  readonly maxAgeMs: number;
}

/** One task on its way to one client. */
export interface Stream {
  readonly transport: Transport;
  readonly task: MemoryTask;
  /** The last event that the client has. */
  cursor: number;
  /** Whether it has been given all that was stored when it began. */
  isLive: boolean;
  write(raw: string): void;
  caughtUp(): void;
  /** The task is over, and the client has all of it. */
  over(): void;
}

const MALFORMED = /^(0|[1-9]\d*)$/;
const MAX_FRAME_BYTES = 64 * 1024;
/** How long before the end of its credentials a connection says so. */
const EXPIRING_MS = 60_000;
export const MULTIPLEX = 'taskbridge.multiplex.v1';

/** Events to clients. Every method may be replaced by a mutant. */
export class MemoryStreams {
  constructor(
    readonly clocks: Clocks,
    /** @throws Refusal when there is no such task for the caller */
    readonly find: (caller: Caller, taskId: string) => MemoryTask,
    readonly snapshotFrame: (task: MemoryTask) => object,
    readonly tokens: MemoryTokens,
    /** @throws Refusal */
    readonly openFeed: (
      caller: Caller,
      after: string | null,
      tell: (change: Json) => void,
    ) => { readonly next: string; readonly stop: () => void },
  ) {}

  /** @throws Refusal */
  cursor(text: string | null | undefined, task: MemoryTask, _transport: Transport): number {
    const cursor = text === undefined || text === null || text === '' ? '0' : text;
    if (!MALFORMED.test(cursor)) throw new Refusal(400, 'INVALID_CURSOR');
    if (Number(cursor) > task.head) throw new Refusal(409, 'CURSOR_AHEAD', { headEventId: String(task.head) });
    return Number(cursor);
  }

  /** Where a stream begins, unless it is at a cursor. */
  begins(from: string | undefined, cursor: string | null | undefined): string | undefined {
    return (cursor ?? '') === '' ? from : undefined;
  }

  /** The next events of a stream. */
  eventsFor(stream: Stream): readonly string[] {
    return stream.task.log.slice(stream.cursor);
  }

  isOver({ task, cursor }: Stream): boolean {
    return task.isOver && cursor >= task.head;
  }

  /** Brings a stream its events until `stop` is called. */
  follow(stream: Stream): () => void {
    const pump = () => {
      for (const raw of this.eventsFor(stream)) stream.write(raw);
      stream.cursor = stream.task.head;
      if (!stream.isLive) {
        stream.isLive = true;
        stream.caughtUp();
      }
      if (this.isOver(stream)) {
        stop();
        stream.over();
      }
    };
    const stop = () => stream.task.watchers.delete(pump);
    stream.task.watchers.add(pump);
    pump();
    return stop;
  }

  sse(
    response: ServerResponse,
    task: MemoryTask,
    cursor: number,
    { begins, snapshot }: { begins?: string | undefined; snapshot?: object | undefined } = {},
  ): void {
    if (!snapshot && this.isAtTheEnd(task, cursor)) {
      response.writeHead(204).end();
      return;
    }
    response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8', 'Cache-Control': 'no-cache' });
    response.write('retry: 2000\n\n');
    if (snapshot) response.write(this.sseSnapshot(cursor, snapshot));
    else if (begins === 'now') response.write(`id: ${cursor}\n\n`);
    const beat = this.silence(() => response.write(this.sseHeartbeat(task)));
    const stream: Stream = {
      transport: 'sse',
      task,
      cursor,
      isLive: false,
      write: (raw) => {
        beat.refresh();
        response.write(this.sseBlock(raw));
      },
      caughtUp: () => undefined,
      over: () => this.endSse(response),
    };
    const stop = this.follow(stream);
    const old = setTimeout(() => response.end(), this.clocks.maxAgeMs);
    response.once('close', () => {
      stop();
      clearTimeout(old);
      clearInterval(beat);
    });
  }

  sseSnapshot(cursor: number, snapshot: object): string {
    return `id: ${cursor}\nevent: snapshot\ndata: ${storedJson(snapshot)}\n\n`;
  }

  isAtTheEnd(task: MemoryTask, cursor: number): boolean {
    return task.isOver && cursor === task.head;
  }

  endSse(response: ServerResponse): void {
    response.end();
  }

  sseBlock(raw: string): string {
    return `id: ${(JSON.parse(raw) as { eventId: string }).eventId}\ndata: ${raw}\n\n`;
  }

  sseHeartbeat({ taskId }: MemoryTask): string {
    const data = { type: 'HEARTBEAT', taskId, eventId: `hb-${randomUUID()}`, createdAt: new Date().toISOString() };
    return `event: heartbeat\ndata: ${JSON.stringify({ ...data, payload: { live: true } })}\n\n`;
  }

  /** Calls again and again while nothing refreshes it. */
  silence(beat: () => void): NodeJS.Timeout {
    return setInterval(beat, this.clocks.heartbeatMs);
  }

  /** A WebSocket of a caller; without one it is closed. */
  socket(socket: WebSocket, caller: Caller | undefined): void {
    socket.on('error', () => undefined);
    if (caller === undefined) return this.close(socket, new Refusal(401, 'AUTHENTICATION_ERROR'));
    const session = new MemorySession(this, socket, caller);
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      try {
        session.frame(data, isBinary);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        this.close(socket, error);
      }
    });
    session.begin();
  }

  close(socket: WebSocket, refusal: Refusal): void {
    socket.close(this.closeCodeOf(refusal), refusal.code);
  }

  closeCodeOf({ status, code }: Refusal): number {
    if (code === 'BINARY') return 1003;
    return { 401: 4401, 403: 4403, 404: 4404, 409: 4409 }[status] ?? 4400;
  }

  closeWhenOver(socket: WebSocket): void {
    socket.close(1000);
  }

  closeWithoutSubscribe(socket: WebSocket): void {
    socket.close(4408, 'SUBSCRIBE_TIMEOUT');
  }

  closeOld(socket: WebSocket): void {
    socket.close(socket.protocol === MULTIPLEX ? 4001 : 1012, 'MAX_AGE');
  }

  hangUp(socket: WebSocket): void {
    socket.terminate();
  }

  confirmation(task: MemoryTask, cursor: number): object {
    const replayStartedAfterEventId = cursor === 0 ? null : String(cursor);
    const { taskId } = task;
    return {
      type: 'SUBSCRIPTION_CONFIRMED',
      taskId,
      replayStartedAfterEventId,
      live: true,
      headEventId: String(task.head),
    };
  }

  caughtUpFrames(task: MemoryTask): readonly object[] {
    return [{ type: 'CAUGHT_UP', taskId: task.taskId, headEventId: String(task.head) }];
  }

  /** A connection whose newer credentials count. */
  renew(session: MemorySession, token: FollowToken): void {
    session.watch(token);
  }

  /** The fate of the first subscription after a second one. */
  subscribedTwice(_session: MemorySession, _taskId: string): void {}

  /** The rest of a subscription after the client left it. */
  left(stop: () => void): void {
    stop();
  }

  /** The fate of the connection after the end of its last subscription. */
  lastEnded(_socket: WebSocket): void {}

  /** The fate of the connection after the refusal of one subscription. */
  refused(_socket: WebSocket): void {}
}

/** Handles the frames that a client sends on its WebSocket. */
export class MemorySession {
  readonly following = new Map<string, () => void>();
  readonly #carriesMany: boolean;
  #hasSubscribed = false;
  #beat: NodeJS.Timeout | undefined;
  #taskId: string | undefined;
  #stopWatching: () => void = () => undefined;
  #stopFeed: (() => void) | undefined;

  constructor(
    private readonly streams: MemoryStreams,
    private readonly socket: WebSocket,
    private caller: Caller,
  ) {
    this.#carriesMany = socket.protocol === MULTIPLEX;
  }

  begin(): void {
    const { socket, streams } = this;
    const { subscribeMs, pingMs, pongMs, maxAgeMs } = streams.clocks;
    const deadline = setTimeout(() => !this.#hasSubscribed && streams.closeWithoutSubscribe(socket), subscribeMs);
    const old = setTimeout(() => streams.closeOld(socket), maxAgeMs);
    let lost: NodeJS.Timeout | undefined;
    const pings = setInterval(() => {
      socket.ping();
      lost ??= setTimeout(() => streams.hangUp(socket), pongMs);
    }, pingMs);
    socket.on('pong', () => {
      clearTimeout(lost);
      lost = undefined;
    });
    this.#beat = streams.silence(() => this.#hasSubscribed && this.heartbeat());
    this.watch(this.caller.token);
    socket.once('close', () => {
      this.#stopWatching();
      this.#stopFeed?.();
      for (const timer of [deadline, old, lost]) clearTimeout(timer);
      for (const timer of [pings, this.#beat]) clearInterval(timer);
      for (const stop of this.following.values()) stop();
    });
  }

  frame(data: Buffer, isBinary: boolean): void {
    if (isBinary) throw new Refusal(400, 'BINARY');
    const renewing = this.#carriesMany && /^{"action":"authenticate","token":"([^"]*)"}$/.exec(data.toString());
    if (renewing) return this.authenticate(renewing[1] ?? '');
    const feed = this.#carriesMany && /^{"action":"(un)?subscribe_changes"/.exec(data.toString());
    if (feed) return feed[1] ? this.leaveFeed() : this.followFeed(data);
    const frame = this.checked(data);
    if (frame.action === 'unsubscribe') return this.unsubscribe(frame.taskId);
    if (!this.#carriesMany && (this.#hasSubscribed || frame.ref !== undefined || frame.from !== undefined))
      throw invalidRequest();
    this.#hasSubscribed = true;
    this.#taskId = frame.taskId;
    if (this.following.has(frame.taskId)) {
      this.error(frame.taskId, 'ALREADY_SUBSCRIBED', frame.ref);
      return this.streams.subscribedTwice(this, frame.taskId);
    }
    try {
      this.subscribe(frame.taskId, frame.lastEventId, frame.from);
    } catch (error) {
      if (!this.#carriesMany || !(error instanceof Refusal)) throw error;
      this.error(frame.taskId, error.code, frame.ref);
      this.streams.refused(this.socket);
    }
  }

  /** Ends with the credentials. With the multiplex it says so before. */
  watch(token: FollowToken | undefined): void {
    this.#stopWatching();
    this.#stopWatching = this.streams.tokens.whenOver(token, () =>
      this.streams.close(this.socket, new Refusal(401, 'AUTHENTICATION_ERROR')),
    );
    if (!token || !this.#carriesMany || token.expiresAt - Date.now() > EXPIRING_MS) return;
    this.send({ type: 'AUTH_EXPIRING', expiresAt: new Date(token.expiresAt).toISOString() });
  }

  followFeed(data: Buffer): void {
    const { after = null, ref } = JSON.parse(data.toString()) as { after?: string | null; ref?: string };
    try {
      if (this.#stopFeed) throw new Refusal(409, 'ALREADY_SUBSCRIBED');
      const { next, stop } = this.streams.openFeed(this.caller, after, (change) =>
        this.send({ type: 'CHANGE', ...change }),
      );
      this.#hasSubscribed = true;
      this.#stopFeed = stop;
      this.send({ type: 'CHANGES_CONFIRMED', next });
      this.send({ type: 'CHANGES_CAUGHT_UP', next });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.send({ type: 'ERROR', ...(ref !== undefined && { ref }), code: error.code, message: 'It is refused.' });
    }
  }

  leaveFeed(): void {
    if (!this.#stopFeed) return this.send({ type: 'ERROR', code: 'NOT_SUBSCRIBED', message: 'It is refused.' });
    this.streams.left(this.#stopFeed);
    this.#stopFeed = undefined;
    this.send({ type: 'CHANGES_ENDED', reason: 'unsubscribed' });
  }

  authenticate(text: string): void {
    try {
      const token = this.streams.tokens.renewed(this.caller.token, text);
      this.caller = { principal: token.owner, token };
      this.send({ type: 'AUTHENTICATED', expiresAt: new Date(token.expiresAt).toISOString() });
      this.streams.renew(this, token);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.send({ type: 'ERROR', code: error.code, message: 'It is refused.' });
    }
  }

  send(frame: object): void {
    this.write(JSON.stringify(frame));
  }

  private write(text: string): void {
    this.#beat?.refresh();
    this.socket.send(text);
  }

  private checked(data: Buffer) {
    const text = data.toString();
    let frame: Record<string, unknown>;
    try {
      frame = JSON.parse(text) as Record<string, unknown>;
    } catch {
      throw invalidRequest();
    }
    if (Array.isArray(frame) || (text.match(/"taskId"\s*:/g) ?? []).length !== 1) throw invalidRequest();
    const { action, taskId: sent, lastEventId, from, ref, ...more } = frame;
    const taskId = typeof sent === 'string' ? sent.toLowerCase() : sent;
    const fits =
      Object.keys(more).length === 0 &&
      typeof taskId === 'string' &&
      /^[A-Za-z0-9][\w.@-]{0,254}$/.test(taskId) &&
      (action === 'subscribe' || (action === 'unsubscribe' && this.#carriesMany && ref === undefined)) &&
      (lastEventId === undefined || lastEventId === null || typeof lastEventId === 'string') &&
      (from === undefined || (action === 'subscribe' && ['snapshot', 'now'].includes(from as string))) &&
      (ref === undefined || typeof ref === 'string');
    if (!fits) throw invalidRequest();
    return {
      action,
      taskId,
      lastEventId: lastEventId as string | null | undefined,
      from: from as string | undefined,
      ref: ref as string | undefined,
    };
  }

  private subscribe(taskId: string, lastEventId: string | null | undefined, from: string | undefined): void {
    const { streams } = this;
    const transport = this.#carriesMany ? 'multiplex' : 'websocket';
    const task = streams.find(this.caller, taskId);
    const begins = streams.begins(from, lastEventId);
    const cursor = begins === undefined ? streams.cursor(lastEventId, task, transport) : task.head;
    this.send(streams.confirmation(task, cursor));
    if (begins === 'snapshot') this.send(streams.snapshotFrame(task));
    let isOver = false;
    const stop = streams.follow({
      transport,
      task,
      cursor,
      isLive: false,
      write: (raw) => this.write(raw),
      caughtUp: () => {
        if (this.#carriesMany) for (const frame of streams.caughtUpFrames(task)) this.send(frame);
      },
      over: () => {
        isOver = true;
        this.following.delete(taskId);
        if (!this.#carriesMany) return streams.closeWhenOver(this.socket);
        this.send({ type: 'SUBSCRIPTION_ENDED', taskId, reason: 'terminal' });
        if (this.following.size === 0) streams.lastEnded(this.socket);
      },
    });
    if (!isOver) this.following.set(taskId, stop);
  }

  private unsubscribe(taskId: string): void {
    const stop = this.following.get(taskId);
    if (!stop) return this.error(taskId, 'NOT_SUBSCRIBED');
    this.streams.left(stop);
    this.following.delete(taskId);
    this.send({ type: 'SUBSCRIPTION_ENDED', taskId, reason: 'unsubscribed' });
  }

  private error(taskId: string, code: string, ref?: string): void {
    this.send({ type: 'ERROR', taskId, ...(ref !== undefined && { ref }), code, message: 'It is refused.' });
  }

  private heartbeat(): void {
    this.send({ type: 'HEARTBEAT', ...(!this.#carriesMany && { taskId: this.#taskId }), live: true });
  }
}

export { MAX_FRAME_BYTES };
