import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocketServer } from 'ws';
import { storedJson } from '#protocol/exact-json.js';
import { TOKEN_SUBPROTOCOL_PREFIX } from '#protocol/follow-tokens.js';
import { PLAIN } from '#protocol/frames.js';
import { type Clocks, MAX_FRAME_BYTES, MemoryStreams, MULTIPLEX } from './memory-streams.js';
import type { Json, MemoryTask, StoredFile } from './memory-task.js';
import { type Action, MemoryTasks, type WorkerEvent } from './memory-tasks.js';
import { type Caller, MemoryTokens, type Opening } from './memory-tokens.js';
import { invalidMembers, invalidRequest, Refusal } from './refusal.js';
import { strictObject } from './strict-reader.js';

export const MEMORY_WORKER_TOKEN = 'the-worker-token-of-the-memory-server';

const CLOCKS: Clocks = { heartbeatMs: 700, pingMs: 1_000, pongMs: 2_500, subscribeMs: 2_500, maxAgeMs: 600_000 };
const LEASE_MS = 3_000;
const TICK_MS = 25;
const MAX_BODY_BYTES = 2 ** 20;
/** Bodies of workers, of which the limits of single members are smaller. */
const MAX_WORKER_BODY_BYTES = 2 ** 22;
const PRINTABLE = /^[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Zs}\u200c\u200d]{1,255}$/u;
const JSON_HEADERS = { 'Content-Type': 'application/json; charset=utf-8' };

const FEATURES = [
  ...[
    'bigIntegers',
    'steps',
    'outputSnapshots',
    'beforeEventId',
    'listByRequestId',
    'runAgain',
    'actionSchemas',
    'erasing',
  ],
  ...[
    'bulk',
    'schedules',
    'workerFiles',
    'eventKeys',
    'heartbeats',
    'leaseSeconds',
    'policies',
    'signals',
    'followTokens',
    'feed',
  ],
];

/** A request on its way to its answer. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly correlationId: string;
  /** Absent where nobody is named. */
  readonly by: Caller | undefined;
  /** The values of the names in a route's path. */
  readonly params: Readonly<Record<string, string>>;
}

interface Reply {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Route {
  readonly method: string;
  readonly path: RegExp;
  readonly query?: readonly string[];
  /** Absent: it takes no follow token. */
  readonly opens?: Opening;
  readonly answer: (exchange: Exchange) => Promise<Reply | undefined> | Reply | undefined;
}

/** The protocol in memory: small, slow and correct. A mutant replaces a part of it. */
export class MemoryServer {
  readonly tasks: MemoryTasks;
  readonly streams: MemoryStreams;
  readonly tokens = new MemoryTokens();
  readonly #http = createServer((request, response) => void this.serve(request, response));
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_FRAME_BYTES,
    handleProtocols: (offered) => this.selected(offered),
  });
  readonly #sockets = new Set<Socket>();
  #clock: NodeJS.Timeout | undefined;

  constructor(clocks: Partial<Clocks> = {}) {
    this.tasks = new MemoryTasks({ leaseMs: LEASE_MS, maxAttempts: 3 });
    this.streams = new MemoryStreams(
      { ...CLOCKS, ...clocks },
      (caller, id) => this.taskFor(caller, id),
      (task) => this.tasks.snapshotFrame(task),
      this.tokens,
      (caller, after, tell) => this.openFeed(caller, after, tell),
    );
  }

  /** Answers its URL. */
  async start(): Promise<string> {
    this.#http.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      if (this.isForeign(request)) {
        socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
        return;
      }
      const caller = this.callerOfUpgrade(request);
      if (caller === undefined && request.headers.origin === undefined) {
        socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
        return;
      }
      this.#webSockets.handleUpgrade(request, socket, head, (opened) => this.streams.socket(opened, caller));
    });
    this.#http.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#http.listen(0, '127.0.0.1');
    await once(this.#http, 'listening');
    this.#clock = setInterval(() => this.tasks.reap(TICK_MS), TICK_MS);
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    clearInterval(this.#clock);
    for (const socket of this.#sockets) socket.destroy();
    this.#http.close();
    await once(this.#http, 'close');
  }

  get openConnections(): number {
    return this.#sockets.size;
  }

  readonly routes: Route[] = [
    { method: 'GET', path: /^\/health$/, answer: () => ({ status: 200, body: { status: 'ok' } }) },
    { method: 'GET', path: /^\/ready$/, answer: () => ({ status: 200, body: { status: 'ready', details: {} } }) },
    {
      method: 'GET',
      path: /^\/metrics$/,
      answer: ({ response }) => void response.end('# TYPE tasks gauge\ntasks 1\n'),
    },
    {
      method: 'GET',
      path: /^\/openapi\.json$/,
      answer: () => ({ status: 200, body: { openapi: '3.1.0', paths: {} } }),
    },
    { method: 'GET', path: /^\/api\/v1$/, opens: { right: 'read' }, answer: (exchange) => this.service(exchange) },
    { method: 'POST', path: /^\/api\/v1\/follow-tokens$/, answer: (exchange) => this.mint(exchange) },
    {
      method: 'DELETE',
      path: /^\/api\/v1\/follow-tokens$/,
      query: ['taskId', 'owner'],
      answer: (exchange) => this.revoke(exchange),
    },
    { method: 'GET', path: /^\/worker\/v1$/, answer: (exchange) => this.serviceForWorkers(exchange) },
    { method: 'POST', path: /^\/api\/v1\/tasks$/, answer: (exchange) => this.create(exchange) },
    {
      method: 'GET',
      path: /^\/api\/v1\/tasks$/,
      query: ['status', 'taskType', 'clientRequestId', 'suspended', 'createdAfter', 'createdBefore', 'limit', 'cursor'],
      opens: { right: 'read', forOwner: true },
      answer: (exchange) => this.list(exchange),
    },
    {
      method: 'GET',
      path: /^\/api\/v1\/tasks\/changes$/,
      query: ['after', 'waitTimeoutMs', 'status', 'taskType', 'tags'],
      opens: { right: 'read', forOwner: true },
      answer: (exchange) => this.changes(exchange),
    },
    {
      method: 'GET',
      path: /^\/api\/v1\/tasks\/changes\/stream$/,
      query: ['after', 'status', 'taskType', 'tags'],
      opens: { right: 'read', forOwner: true, inQuery: true },
      answer: (exchange) => this.changesStream(exchange),
    },
    {
      method: 'GET',
      path: /^\/api\/v1\/tasks\/(?!changes$)(?<taskId>[^/]+)$/,
      query: ['include'],
      opens: { right: 'read' },
      answer: (exchange) => this.snapshot(exchange),
    },
    {
      method: 'GET',
      path: /^\/api\/v1\/tasks\/(?<taskId>[^/]+)\/events$/,
      query: ['afterEventId', 'beforeEventId', 'maxEvents', 'waitTimeoutMs'],
      opens: { right: 'read' },
      answer: (exchange) => this.page(exchange),
    },
    {
      method: 'GET',
      path: /^\/api\/v1\/tasks\/(?<taskId>[^/]+)\/events\/stream$/,
      query: ['lastEventId', 'from'],
      opens: { right: 'read', inQuery: true },
      answer: (exchange) => this.stream(exchange),
    },
    { method: 'POST', path: /^\/api\/v1\/tasks\/bulk\/cancel$/, answer: (exchange) => this.bulk(exchange) },
    {
      method: 'GET',
      path: /^\/api\/v1\/bulks\/(?<bulkId>[^/]+)$/,
      answer: ({ params }) => ({ status: 200, body: this.tasks.bulks.get(params['bulkId'] ?? '') }),
    },
    {
      method: 'POST',
      path: /^\/api\/v1\/tasks\/(?<taskId>[^/]+)\/cancel$/,
      opens: { right: 'cancel' },
      answer: (exchange) => this.cancel(exchange),
    },
    { method: 'POST', path: /^\/api\/v1\/tasks\/(?<taskId>[^/]+)\/retry$/, answer: (exchange) => this.retry(exchange) },
    {
      method: 'POST',
      path: /^\/api\/v1\/tasks\/(?<taskId>[^/]+)\/actions$/,
      opens: { right: 'answer' },
      answer: (exchange) => this.act(exchange),
    },
    {
      method: 'GET',
      path: /^\/api\/v1\/tasks\/(?<taskId>[^/]+)\/attachments\/(?<attachmentId>[^/]+)$/,
      opens: { right: 'read' },
      answer: (exchange) => this.download(exchange),
    },
    { method: 'DELETE', path: /^\/api\/v1\/tasks\/(?<taskId>[^/]+)$/, answer: (exchange) => this.erase(exchange) },
    ...['PUT', 'GET', 'DELETE'].map((method) => ({
      method,
      path: /^\/api\/v1\/schedules\/(?<name>[\w.-]{1,64})$/,
      answer: (exchange: Exchange) => this.schedule(exchange),
    })),
    { method: 'POST', path: /^\/worker\/v1\/leases$/, answer: (exchange) => this.leases(exchange) },
    { method: 'POST', path: /^\/worker\/v1\/heartbeats$/, answer: (exchange) => this.heartbeats(exchange) },
    { method: 'POST', path: /^\/worker\/v1\/signals$/, answer: (exchange) => this.signals(exchange) },
    {
      method: 'POST',
      path: /^\/worker\/v1\/tasks\/(?<taskId>[^/]+)\/attachments$/,
      query: ['filename'],
      answer: (exchange) => this.attach(exchange),
    },
    {
      method: 'POST',
      path: /^\/worker\/v1\/tasks\/(?<taskId>[^/]+)\/(?<call>\w+)$/,
      answer: (exchange) => this.workerCall(exchange),
    },
  ];

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const correlationId = this.correlationIdOf(request);
    response.setHeader('X-Correlation-Id', correlationId);
    const url = new URL(request.url ?? '/', 'http://memory');
    try {
      this.judgeOrigin(request, response);
      const route = this.routeOf(request, url);
      this.checkQuery(url, this.queryOf(route));
      const by = this.callerBy(request, url.searchParams.get('token'));
      if (by?.token) this.tokens.checkOpens(by.token, route.opens);
      const params = route.path.exec(url.pathname)?.groups ?? {};
      const reply = await route.answer({ request, response, url, correlationId, by, params });
      if (reply) this.send(response, reply);
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal(500, 'INTERNAL_ERROR', { error: String(error) });
      const { status, headers } = refusal;
      this.send(response, { status, body: this.errorBody(refusal, correlationId), headers });
    }
  }

  errorBody({ code, message, details }: Refusal, correlationId: string): object {
    return { code, message, details, timestamp: new Date().toISOString(), correlationId };
  }

  send(response: ServerResponse, { status, body, headers = {} }: Reply): void {
    if (response.headersSent || response.destroyed) return;
    const text = typeof body === 'string' ? body : body === undefined ? '' : storedJson(body);
    response.writeHead(status, { ...(text !== '' && JSON_HEADERS), ...headers }).end(text);
  }

  correlationIdOf({ headers }: IncomingMessage): string {
    const traceId = /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(String(headers['traceparent']))?.[1];
    return traceId ?? randomUUID();
  }

  isForeign({ headers }: IncomingMessage): boolean {
    return headers.origin !== undefined && headers.origin !== `http://${headers.host}`;
  }

  judgeOrigin(request: IncomingMessage, response: ServerResponse): void {
    const { origin } = request.headers;
    if (origin === undefined) return;
    if (!this.isForeign(request)) {
      response.setHeader('Access-Control-Allow-Origin', origin);
      response.setHeader('Access-Control-Allow-Credentials', 'true');
    } else if (request.method !== 'GET' || request.url?.includes('/events/stream')) {
      throw new Refusal(403, 'ACCESS_DENIED');
    }
  }

  routeOf(request: IncomingMessage, { pathname }: URL): Route {
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    const there = this.routes.filter(({ path }) => path.test(pathname));
    const route = there.find((one) => one.method === method);
    if (route) return route;
    if (there.length === 0) throw new Refusal(404, 'NOT_FOUND');
    throw new Refusal(405, 'METHOD_NOT_ALLOWED', {}, { Allow: there.map((one) => one.method).join(', ') });
  }

  checkQuery({ searchParams }: URL, known: readonly string[]): void {
    const names = [...searchParams.keys()];
    if (names.some((name, at) => !known.includes(name) || names.indexOf(name) !== at)) throw invalidRequest();
  }

  principalOf({ headers }: IncomingMessage): string | undefined {
    return headers['x-principal-id']?.toString();
  }

  queryOf({ query = [], opens }: Route): readonly string[] {
    return opens?.inQuery ? [...query, 'token'] : query;
  }

  /** Who is named by a header or a follow token. @throws Refusal */
  callerBy(request: IncomingMessage, ...texts: readonly (string | null | undefined)[]): Caller | undefined {
    const principal = this.principalOf(request);
    const [text, second] = [this.bearerOf(request), ...texts].filter((one) => typeof one === 'string');
    if (text === undefined) return principal === undefined ? undefined : { principal };
    const token = this.tokens.counted(text);
    if (second !== undefined || !this.tokens.goesWith(token, principal)) throw new Refusal(401, 'AUTHENTICATION_ERROR');
    return { principal: token.owner, token };
  }

  bearerOf({ headers }: IncomingMessage): string | undefined {
    return /^Bearer (tbf1\..*)$/.exec(headers.authorization ?? '')?.[1];
  }

  callerOfUpgrade(request: IncomingMessage): Caller | undefined {
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(/, */);
    const texts = offered.filter((one) => one.startsWith(TOKEN_SUBPROTOCOL_PREFIX));
    try {
      return this.callerBy(request, ...texts.map((one) => one.slice(TOKEN_SUBPROTOCOL_PREFIX.length)));
    } catch {
      return undefined;
    }
  }

  selected(offered: ReadonlySet<string>): string | false {
    return [MULTIPLEX, PLAIN].find((one) => offered.has(one)) ?? false;
  }

  /** @throws Refusal */
  caller({ by }: Exchange): string {
    if (by === undefined) throw new Refusal(401, 'AUTHENTICATION_ERROR');
    return by.principal;
  }

  taskOf(exchange: Exchange): MemoryTask {
    this.caller(exchange);
    return this.taskFor(exchange.by, exchange.params['taskId'] ?? '');
  }

  /** @throws Refusal */
  taskFor(caller: Caller | undefined, taskId: string): MemoryTask {
    if (!this.tokens.covers(caller?.token, taskId)) throw new Refusal(404, 'TASK_NOT_FOUND');
    return this.tasks.owned(caller?.principal ?? '', taskId);
  }

  async mint(exchange: Exchange): Promise<Reply> {
    const owner = this.caller(exchange);
    const body = await this.bodyOf(exchange);
    if (body['taskId'] !== undefined) this.checkMayMint(owner, textOf(body['taskId']));
    return { status: 201, body: this.tokens.answer(this.tokens.mint(owner, body)) };
  }

  checkMayMint(owner: string, taskId: string): void {
    this.tasks.owned(owner, taskId);
  }

  revoke(exchange: Exchange): Reply {
    const owner = this.caller(exchange);
    const taskId = exchange.url.searchParams.get('taskId');
    if (taskId !== null) this.tasks.owned(owner, taskId);
    this.tokens.revoke((token) => (taskId === null ? token.owner === owner : token.taskId === taskId.toLowerCase()));
    return { status: 204 };
  }

  async bytesOf({ request }: Exchange, most = MAX_BODY_BYTES): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const bytes = Buffer.concat(chunks);
    if (bytes.length > most) throw new Refusal(413, 'PAYLOAD_TOO_LARGE');
    return bytes;
  }

  async bodyOf(exchange: Exchange, most?: number): Promise<Record<string, unknown>> {
    const { headers } = exchange.request;
    const bytes = await this.bytesOf(exchange, most);
    const isJson = /^application\/json(; *charset=utf-8)?$/i.test(headers['content-type'] ?? '');
    if (!isJson || headers['content-encoding'] !== undefined) throw new Refusal(415, 'UNSUPPORTED_MEDIA_TYPE');
    return strictObject(bytes);
  }

  async create(exchange: Exchange): Promise<Reply> {
    const owner = this.caller(exchange);
    const isForm = exchange.request.headers['content-type']?.startsWith('multipart/form-data') ?? false;
    const { body, files } = isForm ? await this.formOf(exchange) : { body: await this.bodyOf(exchange), files: [] };
    const key = this.keyOf(exchange);
    if (key !== undefined && body['clientRequestId'] !== undefined && body['clientRequestId'] !== key) {
      throw invalidRequest();
    }
    const submission = this.checkedCreate({ ...body, ...(key !== undefined && { clientRequestId: key }) });
    this.tasks.checkInput(submission);
    const { task, isNew } = this.tasks.create(owner, { ...submission, files });
    const { taskId, clientRequestId, status } = task;
    const headers = isNew ? { Location: `/api/v1/tasks/${taskId}` } : { 'Idempotent-Replayed': 'true' };
    const answer = { taskId, status: isNew ? 'ACCEPTED' : status, clientRequestId, deduplicated: !isNew };
    return { status: isNew ? 201 : 200, body: answer, headers };
  }

  keyOf({ request }: Exchange): string | undefined {
    const sent = request.headers['idempotency-key']?.toString();
    if (sent === undefined) return undefined;
    const text = Buffer.from(sent, 'latin1').toString();
    const key = this.normal(this.withoutQuotes(text));
    if (!PRINTABLE.test(key) || key.includes('\ufffd')) throw invalidRequest();
    return key;
  }

  normal(text: string): string {
    return text.normalize('NFC');
  }

  isReserved(name: string): boolean {
    return name.startsWith('schedule:');
  }

  withoutQuotes(text: string): string {
    const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(text)?.[1];
    return quoted?.replace(/\\(["\\])/g, '$1') ?? text;
  }

  checkedCreate({ clientRequestId, taskType, input = {}, metadata = {}, delaySeconds = 0, deadline, ...more }: Json) {
    const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value);
    const wrong = Object.keys(more);
    const name = this.normal(textOf(clientRequestId));
    if (!PRINTABLE.test(name) || this.isReserved(name)) wrong.push('clientRequestId');
    if (!/^[A-Za-z0-9._:/-]{1,128}$/.test(textOf(taskType))) wrong.push('taskType');
    if (!isObject(input)) wrong.push('input');
    if (!isObject(metadata)) wrong.push('metadata');
    if (!Number.isInteger(delaySeconds)) wrong.push('delaySeconds');
    if (wrong.length > 0) throw invalidMembers(...wrong);
    return {
      clientRequestId: name,
      taskType: textOf(taskType),
      input: input as Json,
      metadata: metadata as Json,
      delaySeconds: delaySeconds as number,
      deadline: deadline as string | undefined,
    };
  }

  async formOf(exchange: Exchange): Promise<{ body: Record<string, unknown>; files: readonly StoredFile[] }> {
    const headers = { 'Content-Type': exchange.request.headers['content-type'] ?? '' };
    const bytes = withUtf8Names(await this.bytesOf(exchange));
    const form = await new Response(bytes, { headers }).formData();
    const body: Record<string, unknown> = {};
    const files: StoredFile[] = [];
    for (const [name, value] of form) {
      if (typeof value !== 'string') files.push(await this.fileOf(value));
      else body[name] = ['input', 'metadata'].includes(name) ? strictObject(Buffer.from(value)) : value;
    }
    return { body, files };
  }

  async fileOf(file: File): Promise<StoredFile> {
    const bytes = Buffer.from(await file.arrayBuffer());
    const isSigned = /^(%PDF-|\x89PNG)/.test(bytes.subarray(0, 5).toString('latin1'));
    if (isSigned && file.type !== UNTYPED) throw new Refusal(400, 'UPLOAD_VALIDATION_ERROR');
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const filename = basename(file.name);
    return {
      attachmentId: randomUUID(),
      filename,
      contentType: file.type === UNTYPED ? this.foundType(filename, isSigned) : (ALIASES[file.type] ?? file.type),
      sizeBytes: bytes.length,
      sha256,
      bytes,
    };
  }

  foundType(filename: string, isSigned: boolean): string {
    if (isSigned) return 'image/png';
    return filename.endsWith('.csv') ? 'text/csv' : 'application/octet-stream';
  }

  snapshot(exchange: Exchange): Reply {
    const task = this.taskOf(exchange);
    const headers = { ETag: this.entityTag(task) };
    if (exchange.request.headers['if-none-match'] === headers.ETag) return { status: 304, headers };
    const include = exchange.url.searchParams.get('include');
    if (include !== null && include !== 'output') throw invalidRequest();
    const { maxAttempts } = this.tasks.numbers;
    const output = include === null ? {} : this.tasks.outputSoFar(task);
    return {
      status: 200,
      body: {
        ...task.summary(maxAttempts),
        input: task.input,
        ...this.tasks.rerunsOf(task),
        ...this.tasks.questionsOf(task),
        ...output,
      },
      headers,
    };
  }

  entityTag({ revision }: MemoryTask): string {
    return `"${revision}"`;
  }

  list(exchange: Exchange): Reply {
    const owner = this.caller(exchange);
    const query = Object.fromEntries(exchange.url.searchParams);
    const limit = integer(query['limit'], 50, 1, 100);
    const { status, suspended, taskType } = query;
    const statuses = ['ACCEPTED', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED'];
    if (status !== undefined && !statuses.includes(status)) throw invalidRequest();
    if (suspended !== undefined && !['true', 'false'].includes(suspended)) throw invalidRequest();
    const request = query['clientRequestId'];
    if (request !== undefined && !PRINTABLE.test(this.normal(request))) throw invalidRequest();
    const [after, before] = [time(query['createdAfter'], -Infinity), time(query['createdBefore'], Infinity)];
    const fits = this.ownTasks(owner).filter(
      (task) =>
        (status === undefined || task.status === status) &&
        (taskType === undefined || task.taskType === taskType) &&
        (request === undefined || task.clientRequestId === this.normal(request)) &&
        (suspended === undefined || (task.openSuspension !== undefined) === (suspended === 'true')) &&
        task.createdAt.getTime() > after &&
        task.createdAt.getTime() < before,
    );
    const newest = fits.reverse();
    const start = this.startOfPage(newest, query['cursor']);
    const items = newest.slice(start, start + limit);
    const more = newest.length > start + limit;
    return {
      status: 200,
      body: {
        items: items.map((task) => task.summary(this.tasks.numbers.maxAttempts)),
        nextCursor: more ? (items.at(-1)?.taskId ?? null) : null,
      },
    };
  }

  /** What was last seen of each task, and the number of that change. */
  readonly #changes = new Map<MemoryTask, { readonly state: string; readonly number: number }>();
  #changeCount = 0;

  /** Numbers the tasks that have changed since it was last called. */
  noteChanges(): void {
    for (const task of this.tasks.all) {
      const { status, attempt, openSuspension, cancelReason } = task;
      const state = JSON.stringify([status, attempt, openSuspension, cancelReason]);
      if (this.#changes.get(task)?.state !== state) this.#changes.set(task, { state, number: ++this.#changeCount });
    }
  }

  changeCursor(text: string | null): number {
    if (text === null || text === '') return this.#changeCount;
    if (!/^c\d{1,9}$/.test(text)) throw new Refusal(400, 'INVALID_CURSOR');
    return Number(text.slice(1));
  }

  async changes(exchange: Exchange): Promise<Reply> {
    const owner = this.caller(exchange);
    const { searchParams } = exchange.url;
    const waitMs = integer(searchParams.get('waitTimeoutMs') ?? undefined, 25_000, 0, 60_000);
    this.noteChanges();
    const after = this.changeCursor(searchParams.get('after'));
    for (const deadline = performance.now() + waitMs; ; await delay(5)) {
      const changes = this.changesAfter(owner, after, Object.fromEntries(searchParams));
      if (changes.length === 0 && performance.now() < deadline) continue;
      return { status: 200, body: { changes, next: `c${this.#changeCount}` } };
    }
  }

  changesAfter(owner: string, after: number, { status, taskType, tags }: Readonly<Record<string, string>>): Json[] {
    this.noteChanges();
    const wanted = Object.entries(tags === undefined ? {} : (JSON.parse(tags) as Json));
    return this.ownChanges(owner)
      .map((task) => ({ task, number: this.#changes.get(task)?.number ?? 0 }))
      .filter(({ task, number }) => number > after && (taskType === undefined || task.taskType === taskType))
      .filter(({ task: { metadata } }) => wanted.every(([name, value]) => this.tagOf(metadata[name]) === value))
      .sort((a, b) => a.number - b.number)
      .map(({ task, number }) => ({
        cursor: `c${number}`,
        ...(status === undefined || task.status === status ? { task: this.changedTask(task) } : this.left(task)),
      }));
  }

  tagOf(value: unknown): string | undefined {
    return typeof value === 'string' ? value : JSON.stringify(value);
  }

  changesStream(exchange: Exchange): undefined {
    const { request, response, url } = exchange;
    const owner = this.caller(exchange);
    this.noteChanges();
    const sent = this.feedCursor(request.headers['last-event-id']?.toString(), url.searchParams.get('after'));
    response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8', 'Cache-Control': 'no-cache' });
    response.write('retry: 2000\n\n');
    let after = this.changeCursor(sent);
    const beat = this.streams.silence(() => response.write(this.feedHeartbeat(`c${after}`)));
    response.write(this.feedHeartbeat(`c${after}`));
    const stop = this.followChanges(owner, after, Object.fromEntries(url.searchParams), (change) => {
      after = Number(String(change['cursor']).slice(1));
      beat.refresh();
      response.write(`id: ${String(change['cursor'])}\ndata: ${storedJson(change)}\n\n`);
    });
    const forget = this.tokens.whenOver(exchange.by?.token, () => response.end());
    response.once('close', () => {
      clearInterval(beat);
      stop();
      forget();
    });
  }

  feedCursor(header: string | undefined, parameter: string | null): string | null {
    return header ?? parameter;
  }

  feedHeartbeat(next: string): string {
    return `id: ${next}\nevent: heartbeat\ndata: ${JSON.stringify({ type: 'HEARTBEAT', next, live: true })}\n\n`;
  }

  /** Looks again and again. Returns the function that ends it. */
  followChanges(
    owner: string,
    from: number,
    filter: Readonly<Record<string, string>>,
    tell: (change: Json) => void,
  ): () => void {
    let after = from;
    const timer = setInterval(() => {
      for (const change of this.changesAfter(owner, after, filter)) tell(change);
      after = this.#changeCount;
    }, TICK_MS);
    return () => clearInterval(timer);
  }

  /** The feed of a connection. @throws Refusal */
  openFeed(caller: Caller, after: string | null, tell: (change: Json) => void): { next: string; stop: () => void } {
    if (caller.token) this.tokens.checkOpens(caller.token, { right: 'read', forOwner: true });
    this.noteChanges();
    const from = this.changeCursor(after);
    return { next: `c${from}`, stop: this.followChanges(caller.principal, from, {}, tell) };
  }

  ownChanges(owner: string): MemoryTask[] {
    return this.tasks.all.filter((task) => task.owner === owner);
  }

  left({ taskId }: MemoryTask): Json {
    return { taskId, left: true };
  }

  changedTask(task: MemoryTask): Json {
    const { attachments: _, result: __, ...state } = task.summary(this.tasks.numbers.maxAttempts);
    return state;
  }

  ownTasks(owner: string): MemoryTask[] {
    return this.tasks.all.filter((task) => task.owner === owner);
  }

  startOfPage(newest: readonly MemoryTask[], cursor: string | undefined): number {
    if (cursor === undefined) return 0;
    const place = newest.findIndex(({ taskId }) => taskId === cursor);
    if (place < 0) throw new Refusal(400, 'INVALID_CURSOR');
    return place + 1;
  }

  async page(exchange: Exchange): Promise<Reply | undefined> {
    const { searchParams } = exchange.url;
    const maxEvents = integer(searchParams.get('maxEvents') ?? undefined, 100, 1, 500);
    const waitMs = integer(searchParams.get('waitTimeoutMs') ?? undefined, 25_000, 0, 60_000);
    const task = this.taskOf(exchange);
    const given = searchParams.get('afterEventId');
    const before = searchParams.get('beforeEventId');
    if (before !== null && (given !== null || searchParams.has('waitTimeoutMs'))) throw invalidRequest();
    if (before !== null) return { status: 200, body: this.pageBefore(task, before, maxEvents) };
    const cursor = this.streams.cursor(given, task, 'poll');
    await this.waitForEvents(exchange, task, cursor, exchange.request.method === 'HEAD' ? 0 : waitMs);
    const stream = { transport: 'poll', task, cursor, isLive: false, write() {}, caughtUp() {}, over() {} } as const;
    const isOver = this.tokens.isOver(exchange.by?.token);
    const events = isOver ? [] : this.streams.eventsFor(stream).slice(0, maxEvents);
    const last = events.length === 0 ? cursor : cursor + events.length;
    const next = this.nextAfter(events.length === 0 && !given ? undefined : String(last), given);
    const members = [
      `"taskId":"${task.taskId}"`,
      `"events":[${events.join(',')}]`,
      ...(next === undefined ? [] : [`"nextAfterEventId":"${next}"`]),
      `"hasMore":${last < task.head}`,
      `"headEventId":"${task.head}"`,
      `"terminal":${this.isTerminal(task, last)}`,
    ];
    return { status: 200, body: `{${members.join(',')}}` };
  }

  pageBefore(task: MemoryTask, before: string, maxEvents: number): string {
    const end = this.endBefore(task, before);
    const begin = Math.max(0, end - maxEvents);
    const members = [
      `"taskId":"${task.taskId}"`,
      `"events":[${task.log.slice(begin, end).join(',')}]`,
      ...(end > begin ? [`"nextAfterEventId":"${end}"`, `"nextBeforeEventId":"${begin + 1}"`] : []),
      `"hasMore":${begin > 0}`,
      `"headEventId":"${task.head}"`,
      `"terminal":${this.isTerminal(task, end)}`,
    ];
    return `{${members.join(',')}}`;
  }

  /** How many events are before it. @throws Refusal */
  endBefore({ head }: MemoryTask, before: string): number {
    if (!/^[1-9][0-9]*$/.test(before)) throw new Refusal(400, 'INVALID_CURSOR');
    if (Number(before) > head + 1) throw new Refusal(409, 'CURSOR_AHEAD', { headEventId: String(head) });
    return Number(before) - 1;
  }

  nextAfter(next: string | undefined, _given: string | null): string | undefined {
    return next;
  }

  isTerminal(task: MemoryTask, last: number): boolean {
    return task.isOver && last >= task.head;
  }

  async waitForEvents({ response, by }: Exchange, task: MemoryTask, cursor: number, waitMs: number): Promise<void> {
    if (task.head > cursor) return;
    const over = new AbortController();
    const wake = () => over.abort();
    task.watchers.add(wake);
    const stop = this.tokens.whenOver(by?.token, wake);
    response.once('close', wake);
    await delay(waitMs, undefined, { signal: over.signal }).catch(() => undefined);
    task.watchers.delete(wake);
    stop();
  }

  stream(exchange: Exchange): Reply | undefined {
    const { request, response, url } = exchange;
    const { accept = '*/*' } = request.headers;
    if (!/text\/event-stream|\*\/\*/.test(accept)) throw new Refusal(406, 'NOT_ACCEPTABLE');
    const task = this.taskOf(exchange);
    const sent = request.headers['last-event-id']?.toString() ?? url.searchParams.get('lastEventId');
    const from = url.searchParams.get('from') ?? undefined;
    if (from !== undefined && !['snapshot', 'now'].includes(from)) throw invalidRequest();
    const begins = this.streams.begins(from, sent);
    const cursor = begins === undefined ? this.streams.cursor(sent, task, 'sse') : task.head;
    const snapshot = begins === 'snapshot' ? this.tasks.snapshotFrame(task) : undefined;
    this.streams.sse(response, task, cursor, { begins, snapshot });
    response.once(
      'close',
      this.tokens.whenOver(exchange.by?.token, () => response.end()),
    );
    return undefined;
  }

  async cancel(exchange: Exchange): Promise<Reply> {
    const hasBody = exchange.request.headers['content-type'] !== undefined;
    const { reason: sent } = hasBody ? await this.bodyOf(exchange) : {};
    const reason = sent === null || sent === '' || sent === undefined ? 'cancelled_by_user' : sent;
    if (typeof reason !== 'string' || reason.length > 1024) throw invalidMembers('reason');
    const task = this.taskOf(exchange);
    return { status: 202, body: { taskId: task.taskId, status: this.tasks.cancel(task, reason) } };
  }

  async retry(exchange: Exchange): Promise<Reply> {
    const { clientRequestId, input, keepSteps = false } = await this.bodyOf(exchange);
    const source = this.taskOf(exchange);
    const rerun = {
      clientRequestId: textOf(clientRequestId),
      input: input as Json | undefined,
      keepSteps: keepSteps === true,
    };
    const { task, isNew } = this.tasks.runAgain(source, rerun);
    const body = { taskId: task.taskId, status: task.status, clientRequestId, deduplicated: !isNew };
    return { status: isNew ? 201 : 200, body, headers: isNew ? {} : { 'Idempotent-Replayed': 'true' } };
  }

  async act(exchange: Exchange): Promise<Reply> {
    const action = (await this.bodyOf(exchange)) as unknown as Action;
    const task = this.taskOf(exchange);
    const { suspendId, clientActionId } = action;
    const status = this.tasks.act(task, action, this.caller(exchange));
    return {
      status: status === 'ACCEPTED' ? 202 : 200,
      body: { taskId: task.taskId, suspendId, clientActionId, status },
    };
  }

  /** Does all at once. */
  async bulk(exchange: Exchange): Promise<Reply> {
    const { clientRequestId, ids, filter, bulkId, dryRun = false, ...more } = await this.bodyOf(exchange);
    if ([ids, filter, bulkId].filter((one) => one !== undefined).length !== 1) throw invalidMembers('ids');
    const isNamed = dryRun !== true && bulkId === undefined;
    if ((clientRequestId !== undefined) !== isNamed) throw invalidMembers('clientRequestId');
    const owner = this.caller(exchange);
    const earlier = this.tasks.bulkRequests.get(`${owner} ${String(clientRequestId)}`);
    const request = JSON.stringify({ ids, filter, ...more });
    if (earlier && earlier.request !== request) throw new Refusal(409, 'IDEMPOTENCY_CONFLICT');
    if (earlier) return { status: 202, body: this.tasks.bulks.get(earlier.bulkId) };
    const { taskType } = (filter ?? {}) as Json;
    const shown = this.tasks.bulks.get(String(bulkId));
    const taskIds = shown ? this.shownTasks(shown) : this.tasks.cancellable(owner, taskType);
    const now = new Date().toISOString();
    const id = shown ? String(bulkId) : randomUUID();
    if (isNamed) this.tasks.bulkRequests.set(`${owner} ${String(clientRequestId)}`, { bulkId: id, request });
    const bulk: Json = {
      ...{ bulkId: id, kind: 'cancel', dryRun, matched: taskIds.length, outcomes: {}, createdAt: now },
      ...(dryRun === true && { taskIds }),
    };
    this.tasks.bulks.set(id, bulk);
    if (dryRun === true) return { status: 200, body: bulk };
    for (const taskId of taskIds) this.tasks.cancel(this.tasks.owned(owner, taskId), 'bulk');
    const outcomes = { CANCELLATION_REQUESTED: taskIds.length };
    this.tasks.bulks.set(id, { ...bulk, outcomes, finishedAt: now });
    return { status: 202, body: bulk };
  }

  shownTasks({ taskIds }: Json): readonly string[] {
    return taskIds as readonly string[];
  }

  erase(exchange: Exchange): Reply {
    const task = this.taskOf(exchange);
    this.checkErasable(task);
    this.tasks.all.splice(this.tasks.all.indexOf(task), 1);
    return { status: 204 };
  }

  checkErasable(task: MemoryTask): void {
    this.tasks.checkOver(task);
  }

  async schedule(exchange: Exchange): Promise<Reply> {
    const key = `${this.caller(exchange)} ${exchange.params['name']}`;
    const { method } = exchange.request;
    const stored = this.tasks.schedules.get(key);
    if (method === 'PUT') {
      const body = this.checkedSchedule(await this.bodyOf(exchange));
      const now = new Date().toISOString();
      const nextAt = body['paused'] === true ? null : now;
      const schedule = { name: exchange.params['name'], ...body, nextAt, createdAt: now, updatedAt: now };
      this.tasks.schedules.set(key, schedule);
      return { status: stored ? 200 : 201, body: schedule };
    }
    if (!stored) throw new Refusal(404, 'NOT_FOUND');
    if (method === 'GET') return { status: 200, body: stored };
    this.tasks.schedules.delete(key);
    return { status: 204 };
  }

  /** Knows no calendar but that February has no 30th. */
  checkedSchedule({
    cron,
    timeZone,
    taskType,
    input = {},
    metadata = {},
    overlap = 'skip',
    catchUp = 0,
    paused = false,
  }: Json): Json {
    const wrong: string[] = [];
    if (!/^(\S+ ){4}\S+$/.test(String(cron)) || String(cron).endsWith(' 30 2 *')) wrong.push('cron');
    if (!Intl.supportedValuesOf('timeZone').includes(String(timeZone))) wrong.push('timeZone');
    if (!Number.isInteger(catchUp) || Number(catchUp) < 0) wrong.push('catchUp');
    if (wrong.length > 0) throw invalidMembers(...wrong);
    return { cron, timeZone, taskType, input, metadata, overlap, catchUp, paused };
  }

  download(exchange: Exchange): undefined {
    const { request, response, params } = exchange;
    const token = request.headers['x-lease-token'];
    const task =
      token === undefined ? this.taskOf(exchange) : this.tasks.held(params['taskId'] ?? '', token.toString());
    const file = task.files.find(({ attachmentId }) => attachmentId === params['attachmentId']);
    if (!file) throw new Refusal(404, 'NOT_FOUND');
    const { bytes, sha256, filename, contentType } = file;
    const headers = {
      'Content-Type': contentType,
      'Content-Disposition': `attachment; filename="${filename}"`,
      ETag: `"${sha256}"`,
    };
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    if (request.headers['if-none-match'] === headers.ETag) response.writeHead(304, headers).end();
    else if (from === undefined) response.writeHead(200, headers).end(bytes);
    else {
      const range = { ...headers, 'Content-Range': `bytes ${from}-${to}/${bytes.length}` };
      response.writeHead(206, range).end(bytes.subarray(Number(from), Number(to) + 1));
    }
    return undefined;
  }

  checkWorker({ request }: Exchange): void {
    if (request.headers.authorization !== `Bearer ${MEMORY_WORKER_TOKEN}`) {
      throw new Refusal(401, 'AUTHENTICATION_ERROR');
    }
  }

  service(exchange: Exchange): Reply {
    this.caller(exchange);
    return { status: 200, body: { version: '0.0.0', features: FEATURES } };
  }

  serviceForWorkers(exchange: Exchange): Reply {
    this.checkWorker(exchange);
    return { status: 200, body: { version: '0.0.0', features: FEATURES } };
  }

  async leases(exchange: Exchange): Promise<Reply> {
    this.checkWorker(exchange);
    const { taskTypes, maxTasks = 1, waitTimeoutMs = 20_000, ...more } = await this.bodyOf(exchange);
    const { workerId, steps, leaseSeconds, policies = {} } = more;
    for (const [taskType, policy] of Object.entries(policies as Json))
      this.tasks.policies.set(taskType, policy as Json);
    const options = { workerId: String(workerId), steps: steps === true, leaseSeconds: leaseSeconds as number };
    const claim = () => this.tasks.claim(taskTypes as string[], Number(maxTasks), options);
    return { status: 200, body: { leases: await this.waitFor(exchange, claim, Number(waitTimeoutMs)) } };
  }

  async heartbeats(exchange: Exchange): Promise<Reply> {
    this.checkWorker(exchange);
    const { leases } = await this.bodyOf(exchange);
    const answers = (leases as Json[]).map(({ taskId, leaseToken }) => this.renewal(String(taskId), leaseToken));
    return { status: 200, body: { leases: answers } };
  }

  renewal(taskId: string, token: unknown): Json {
    try {
      this.tasks.held(taskId, token);
      return { taskId, ...this.beat(taskId) };
    } catch (error) {
      if (error instanceof Refusal) return { taskId, code: error.code };
      throw error;
    }
  }

  async signals(exchange: Exchange): Promise<Reply> {
    this.checkWorker(exchange);
    const { workerId, known = [], waitTimeoutMs = 20_000 } = await this.bodyOf(exchange);
    const cancelled = () => this.tasks.cancelledOf(String(workerId), known as string[]);
    return { status: 200, body: { signals: await this.waitFor(exchange, cancelled, Number(waitTimeoutMs)) } };
  }

  /** What there is, or what comes up within the time. */
  async waitFor({ response }: Exchange, found: () => Json[], waitMs: number): Promise<Json[]> {
    const first = found();
    if (first.length > 0) return first;
    const deadline = Date.now() + waitMs;
    for (;;) {
      const rest = deadline - Date.now();
      if (rest <= 0 || response.destroyed) return [];
      const over = new AbortController();
      const wake = () => over.abort();
      this.tasks.claims.add(wake);
      response.once('close', wake);
      await delay(rest, undefined, { signal: over.signal }).catch(() => undefined);
      this.tasks.claims.delete(wake);
      response.off('close', wake);
      const now = response.destroyed ? [] : found();
      if (now.length > 0) return now;
    }
  }

  async attach(exchange: Exchange): Promise<Reply> {
    this.checkWorker(exchange);
    const { request, url, params } = exchange;
    const bytes = await this.bytesOf(exchange);
    const task = this.holder(params['taskId'] ?? '', request.headers['x-lease-token']);
    const type = request.headers['content-type'] ?? UNTYPED;
    const name = url.searchParams.get('filename') ?? '';
    const made = {
      ...(await this.fileOf(new File([new Uint8Array(bytes)], name, { type }))),
      source: 'worker' as const,
    };
    const earlier = task.files.find(({ filename, source }) => filename === name && source === 'worker');
    const stored = earlier && this.isSameFile(earlier, made) ? earlier : made;
    task.files = [...task.files.filter((file) => file !== earlier), stored];
    const { bytes: _, ...file } = stored;
    return { status: 200, body: { ...file, ...this.beat(task.taskId) } };
  }

  holder(taskId: string, token: unknown): MemoryTask {
    return this.tasks.held(taskId, token);
  }

  isSameFile(earlier: StoredFile, made: StoredFile): boolean {
    return earlier.sha256 === made.sha256;
  }

  async workerCall(exchange: Exchange): Promise<Reply> {
    this.checkWorker(exchange);
    const { taskId = '', call = '' } = exchange.params;
    const body = await this.bodyOf(exchange, MAX_WORKER_BODY_BYTES);
    const { leaseToken, batchSeq, events } = body;
    if (call === 'events') {
      const given = events as WorkerEvent[];
      const eventIds =
        batchSeq === undefined
          ? this.tasks.appendKeyed(taskId, leaseToken, given)
          : this.tasks.append(taskId, leaseToken, Number(batchSeq), given);
      return { status: 200, body: { eventIds, ...this.beat(taskId) } };
    }
    if (call === 'steps') {
      const step = this.tasks.finishStep(taskId, body);
      return { status: 200, body: { ...step, ...this.beat(taskId) } };
    }
    if (call === 'heartbeat') {
      this.tasks.held(taskId, leaseToken);
      return { status: 200, body: this.beat(taskId) };
    }
    const answer = this.tasks.end(taskId, call, body);
    return call === 'release' ? { status: 204 } : { status: 200, body: answer };
  }

  beat(taskId: string): Json {
    const task = this.tasks.all.find((one) => one.taskId === taskId);
    if (!task) throw new Refusal(409, 'LEASE_LOST');
    const { cancelReason } = task;
    const cancellationRequested = cancelReason !== undefined;
    return {
      leaseExpiresAt: this.tasks.expiry(task),
      cancellationRequested,
      ...(cancellationRequested && { cancelReason }),
    };
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function integer(text: string | undefined, unlessSaid: number, least: number, most: number): number {
  if (text === undefined) return unlessSaid;
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(number >= least && number <= most)) throw invalidRequest();
  return number;
}

function time(text: string | undefined, unlessSaid: number): number {
  if (text === undefined) return unlessSaid;
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(text)) throw invalidRequest();
  return Date.parse(text);
}

const UNTYPED = 'application/x-none';
const ALIASES: Readonly<Record<string, string>> = { 'application/x-photoshop': 'image/vnd.adobe.photoshop' };

/** The form as `formData` reads it: each file has a type, and its name as `filename` in UTF-8. */
function withUtf8Names(form: Buffer): Uint8Array<ArrayBuffer> {
  const bytesOf = (name: string) => Buffer.from(name, 'latin1');
  const utf8 = (bytes: Buffer) =>
    bytes.toString('utf8').includes('\ufffd') ? Buffer.from(bytes.toString('latin1')) : bytes;
  const text = form
    .toString('latin1')
    .replace(/(Content-Disposition: [^\r\n]*; filename[^\r\n]*)\r\n\r\n/g, `$1\r\nContent-Type: ${UNTYPED}\r\n\r\n`)
    .replace(/filename(?:="([^"\r\n]*)"|\*=[\w-]+''([^;\r\n]*))/g, (_, plain?: string, extended = '') => {
      const decoded = extended.replace(/%(..)/g, (_: string, hex: string) => String.fromCharCode(parseInt(hex, 16)));
      return `filename="${utf8(bytesOf(plain ?? decoded)).toString('latin1')}"`;
    });
  return new Uint8Array(bytesOf(text));
}
