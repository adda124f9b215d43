import type { JsonObject } from '../../protocol/src/json-schema.js';
import type { Service } from '../../protocol/src/snapshots.js';
import type { ChangesPage, Action, Created, Page, Snapshot, TaskList } from './wire.js';

export type HeaderMap = Readonly<Record<string, string>>;

/** An answer, with its body as text and, if it is JSON, parsed. */
export interface Answer<Body> {
  /** Method and path, for messages. */
  readonly request: string;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Body;
}

export type Query = Readonly<Record<string, string | number>>;

/** Speaks HTTP with the credentials of one principal, or with none. */
export class ApiClient {
  constructor(
    /** Without a slash at the end; may have a path. */
    readonly baseUrl: string,
    readonly credentials: HeaderMap,
    private readonly timeoutMs: number,
  ) {}

  /** The version and the features. */
  service(): Promise<Answer<Service>> {
    return this.request('GET', '/api/v1');
  }

  create(body: JsonObject, headers: HeaderMap = {}): Promise<Answer<Created>> {
    return this.post('/api/v1/tasks', body, headers);
  }

  snapshot(taskId: string, headers: HeaderMap = {}): Promise<Answer<Snapshot>> {
    return this.request('GET', `/api/v1/tasks/${taskId}`, { headers });
  }

  snapshotWithOutput(taskId: string, include = 'output'): Promise<Answer<Snapshot>> {
    return this.request('GET', `/api/v1/tasks/${taskId}${searchOf({ include })}`);
  }

  list(query: Query): Promise<Answer<TaskList>> {
    return this.request('GET', `/api/v1/tasks${searchOf(query)}`);
  }

  changes(query: Query): Promise<Answer<ChangesPage>> {
    return this.request('GET', `/api/v1/tasks/changes${searchOf(query)}`);
  }

  page(taskId: string, query: Query, signal?: AbortSignal): Promise<Answer<Page>> {
    return this.request('GET', `/api/v1/tasks/${taskId}/events${searchOf(query)}`, signal ? { signal } : {});
  }

  cancel(taskId: string, body?: JsonObject): Promise<Answer<{ taskId: string; status: string }>> {
    const path = `/api/v1/tasks/${taskId}/cancel`;
    return body === undefined ? this.request('POST', path) : this.post(path, body);
  }

  act(taskId: string, action: Action): Promise<Answer<{ status: string; suspendId: string; clientActionId: string }>> {
    return this.post(`/api/v1/tasks/${taskId}/actions`, { ...action });
  }

  post<Body>(path: string, body: JsonObject, headers: HeaderMap = {}, signal?: AbortSignal): Promise<Answer<Body>> {
    const sent = { 'Content-Type': 'application/json', ...headers };
    return this.request('POST', path, { headers: sent, body: JSON.stringify(body), ...(signal && { signal }) });
  }

  async request<Body>(method: string, path: string, init: RequestInit = {}): Promise<Answer<Body>> {
    const response = await this.open(method, path, init);
    const text = await response.text();
    const request = `${method} ${path}`;
    return { request, status: response.status, headers: response.headers, text, body: parsed(text) as Body };
  }

  /** The response as soon as its head is there. */
  async open(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(this.credentials);
    new Headers(init.headers).forEach((value, name) => headers.set(name, value));
    const signal = init.signal ?? AbortSignal.timeout(this.timeoutMs);
    try {
      return await fetch(this.baseUrl + path, { redirect: 'manual', ...init, method, headers, signal });
    } catch (error) {
      throw new Error(`${method} ${path} was not answered: ${causeOf(error)}`, { cause: error });
    }
  }
}

function searchOf(query: Query): string {
  const entries = Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]);
  return entries.length === 0 ? '' : `?${new URLSearchParams(entries)}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `fetch` says only that it failed. Its cause has the reason. */
function causeOf(error: unknown): string {
  const { cause, message } = error as Error;
  return cause instanceof Error
    ? cause.message === ''
      ? String((cause as { code?: unknown }).code)
      : cause.message
    : message;
}
