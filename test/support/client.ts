import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from '@jest/globals';

/** An answer, with its body as text and, if it is JSON, parsed. */
export interface Answer<Body> {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Body;
}

export type TaskStatus = 'ACCEPTED' | 'RUNNING' | 'COMPLETED' | 'FAILED' | 'CANCELLED';

export interface Created {
  readonly taskId: string;
  readonly status: TaskStatus;
  readonly clientRequestId: string;
  readonly deduplicated: boolean;
}

export interface Envelope {
  readonly type: string;
  readonly taskId: string;
  readonly eventId: string;
  readonly createdAt: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

export interface EventPage {
  readonly taskId: string;
  readonly events: readonly Envelope[];
  readonly nextAfterEventId?: string;
  readonly hasMore: boolean;
  readonly headEventId: string;
  readonly terminal: boolean;
}

export interface Snapshot {
  readonly taskId: string;
  readonly clientRequestId: string;
  readonly taskType: string;
  readonly status: TaskStatus;
  readonly input?: unknown;
  readonly metadata?: unknown;
  readonly attempt: number;
  readonly attemptsLeft: number;
  readonly cancellationRequested: boolean;
  readonly progress?: number;
  readonly openSuspension?: Readonly<Record<string, unknown>>;
  readonly result?: unknown;
  readonly failure?: { readonly code: string; readonly message: string; readonly retryable: boolean };
  readonly headEventId: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly startedAt?: string;
  readonly finishedAt?: string;
}

export interface TaskList {
  readonly items: readonly Snapshot[];
  readonly nextCursor: string | null;
}

export interface Cancelled {
  readonly taskId: string;
  readonly status: 'CANCELLATION_REQUESTED' | 'ALREADY_TERMINAL';
}

export interface Action {
  readonly clientActionId: string;
  readonly suspendId: string;
  readonly actionType: string;
  readonly payload?: Readonly<Record<string, unknown>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface ActionResult {
  readonly taskId: string;
  readonly suspendId: string;
  readonly clientActionId: string;
  readonly status: 'ACCEPTED' | 'DEDUPLICATED' | 'REJECTED_ALREADY_RESOLVED' | 'REJECTED_EXPIRED';
}

export type Query = Readonly<Record<string, string>>;

export interface CreateBody {
  readonly clientRequestId?: string;
  readonly taskType: string;
  readonly input?: Readonly<Record<string, unknown>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly startAfter?: string;
  readonly delaySeconds?: number;
  readonly priority?: number;
  readonly deadline?: string;
  readonly maxAttempts?: number;
}

/** Speaks HTTP for one principal; without one it sends no principal header. */
export class Client {
  constructor(
    readonly url: string,
    readonly principal?: string,
  ) {}

  /** The headers that name the caller, for transports outside of this class. */
  get headers(): Record<string, string> {
    return this.principal === undefined ? {} : { 'X-Principal-Id': this.principal };
  }

  create(body: CreateBody, headers: Record<string, string> = {}): Promise<Answer<Created>> {
    return this.post('/api/v1/tasks', body, headers);
  }

  snapshot(taskId: string, headers: Record<string, string> = {}): Promise<Answer<Snapshot>> {
    return this.request('GET', `/api/v1/tasks/${taskId}`, { headers });
  }

  list(query: Query = {}): Promise<Answer<TaskList>> {
    return this.request('GET', `/api/v1/tasks${queryString(query)}`);
  }

  cancel(taskId: string, body?: unknown): Promise<Answer<Cancelled>> {
    const path = `/api/v1/tasks/${taskId}/cancel`;
    return body === undefined ? this.request('POST', path) : this.post(path, body);
  }

  act(taskId: string, action: Action): Promise<Answer<ActionResult>> {
    return this.post(`/api/v1/tasks/${taskId}/actions`, action);
  }

  events(taskId: string, query: Query = {}): Promise<Answer<EventPage>> {
    return this.request('GET', `/api/v1/tasks/${taskId}/events${queryString(query)}`);
  }

  post<Body>(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer<Body>> {
    const sent = { 'Content-Type': 'application/json', ...headers };
    return this.request('POST', path, { headers: sent, body: JSON.stringify(body) });
  }

  async request<Body>(method: string, path: string, init: RequestInit = {}): Promise<Answer<Body>> {
    const headers = new Headers(this.headers);
    new Headers(init.headers).forEach((value, name) => {
      headers.set(name, value);
    });
    const response = await fetch(this.url + path, { ...init, method, headers });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, body: parsed(text) as Body };
  }
}

export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly timestamp: string;
  readonly correlationId: string;
}

export interface FieldError {
  readonly path: string;
  readonly message: string;
}

/** Expects a refusal of the one shape, with this status and code. Returns the body. */
export function expectError(answer: Answer<unknown>, status: number, code: string): ErrorBody {
  expect({ status: answer.status, body: answer.body }).toEqual({
    status,
    body: {
      code,
      message: expect.any(String),
      details: expect.any(Object),
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      correlationId: answer.headers.get('x-correlation-id'),
    },
  });
  expect(answer.headers.get('content-type')).toMatch(/^application\/json\b/);
  return answer.body as ErrorBody;
}

/** `details.errors` of a 422. */
export function expectFieldErrors(answer: Answer<unknown>): readonly FieldError[] {
  const { details } = expectError(answer, 422, 'REQUEST_VALIDATION_ERROR');
  const errors = details['errors'] as readonly FieldError[];
  for (const error of errors) expect(error).toEqual({ path: expect.any(String), message: expect.any(String) });
  return errors;
}

export function uniqueId(prefix = 'id'): string {
  return `${prefix}-${randomUUID()}`;
}

/** A client with a new principal. */
export function newPrincipal(url: string): Client {
  return new Client(url, uniqueId('principal'));
}

/** Sends exactly these bytes, also those that an HTTP client refuses to send. Returns the status and the body. */
export async function rawRequest(
  url: string,
  lines: readonly string[],
  body: string | Buffer = '',
): Promise<Answer<unknown>> {
  const { host } = new URL(url);
  const head = Buffer.from(`${lines.join('\r\n')}\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  return rawBytes(url, Buffer.concat([head, Buffer.from(body)]));
}

/** The same, with nothing added: the bytes have to ask for the end of the connection. */
export async function rawBytes(url: string, bytes: string | Buffer): Promise<Answer<unknown>> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.write(bytes);
  await once(socket, 'close');
  const [head = '', text = ''] = Buffer.concat(chunks)
    .toString('utf8')
    .split(/\r\n\r\n([\s\S]*)/, 2);
  const [statusLine = '', ...headerLines] = head.split('\r\n');
  const headers = new Headers(headerLines.map((line) => line.split(/:\s*(.*)/, 2) as [string, string]));
  return { status: Number(statusLine.split(' ')[1]), headers, text, body: parsed(text) };
}

function queryString(query: Query): string {
  const text = new URLSearchParams(query).toString();
  return text === '' ? '' : `?${text}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
