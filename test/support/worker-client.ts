import { type Answer, Client, uniqueId } from './client.js';

/** Long enough for the boot guard, and known to every test. */
export const WORKER_TOKEN = 'test-worker-token-0123456789abcdef';

/** A service that runs the demo inline and hands every other type to remote workers. */
export const WITH_WORKERS = { EXECUTOR: 'inline,worker', WORKER_TOKENS: WORKER_TOKEN } as const;

export interface ActionAnswer {
  readonly suspendId: string;
  readonly clientActionId: string;
  readonly actionType: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly actorId: string;
}

export interface Lease {
  readonly taskId: string;
  readonly attempt: number;
  readonly leaseToken: string;
  readonly leaseExpiresAt: string;
  readonly taskType: string;
  readonly clientRequestId: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly ownerId: string;
  readonly attachments: readonly unknown[];
  readonly headEventId: string;
  readonly traceparent: string | null;
  readonly cancellationRequested: boolean;
  readonly resume?: ActionAnswer;
  readonly answers: readonly ActionAnswer[];
  readonly steps?: readonly { readonly key: string; readonly result: unknown }[];
}

/** All that a call needs to prove that it may. */
export type Held = Pick<Lease, 'taskId' | 'leaseToken'>;

export interface Claim {
  readonly taskTypes: readonly string[];
  readonly maxTasks?: number;
  readonly waitTimeoutMs?: number;
  readonly steps?: boolean;
  readonly leaseSeconds?: number;
  readonly version?: string;
  readonly features?: readonly string[];
  readonly policies?: Readonly<Record<string, unknown>>;
}

/** One of many heartbeats. */
export interface Renewal extends Partial<Beat> {
  readonly taskId: string;
  readonly code?: string;
}

export interface Signal {
  readonly type: string;
  readonly taskId: string;
  readonly attempt: number;
  readonly cancelReason: string;
}

export interface Appended {
  readonly eventIds: readonly string[];
  readonly leaseExpiresAt: string;
  readonly cancellationRequested: boolean;
}

export interface Beat {
  readonly leaseExpiresAt: string;
  readonly cancellationRequested: boolean;
  readonly cancelReason?: string;
}

export interface Failure {
  readonly code?: string;
  readonly message?: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
}

export interface WorkerEvent {
  readonly type: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly eventKey?: string;
}

export type Question = Readonly<Record<string, unknown>>;

/** Appends to a channel. */
export const output = (data: string, channel = 'text'): WorkerEvent => ({
  type: 'TASK_OUTPUT',
  payload: { channel, op: 'append', data },
});
export const progress = (percent: number): WorkerEvent => ({ type: 'TASK_PROGRESS', payload: { progress: percent } });
export const message = (text: string): WorkerEvent => ({ type: 'TASK_MESSAGE', payload: { message: text } });

/** The least that can be asked. */
export const question = (overrides: Question = {}): Question => ({
  kind: 'USER_ACTION_REQUIRED',
  reasonCode: 'APPROVAL_REQUIRED',
  allowedActions: ['approve', 'reject'],
  ...overrides,
});

/** The worker protocol, a method a call; says nothing about what is done with the answers. */
export class WorkerClient {
  readonly #http: Client;

  constructor(
    readonly url: string,
    readonly workerId = uniqueId('worker'),
    readonly token = WORKER_TOKEN,
  ) {
    this.#http = new Client(url);
  }

  /** Does not wait unless told to. */
  claim(
    { maxTasks = 1, waitTimeoutMs = 0, ...more }: Claim,
    signal?: AbortSignal,
  ): Promise<Answer<{ leases: Lease[] }>> {
    const body = { workerId: this.workerId, maxTasks, waitTimeoutMs, ...more };
    return this.post('leases', body, signal);
  }

  /** The one lease that there has to be, waited for: for tests that are about what comes after. */
  async lease(taskType: string, waitTimeoutMs = 15_000, more: Partial<Claim> = {}): Promise<Lease> {
    const { status, text, body } = await this.claim({ taskTypes: [taskType], waitTimeoutMs, ...more });
    const lease = status === 200 ? body.leases[0] : undefined;
    if (!lease) throw new Error(`no lease of a ${taskType}: ${status} ${text}`);
    return lease;
  }

  events(held: Held, batchSeq: number, events: readonly WorkerEvent[]): Promise<Answer<Appended>> {
    return this.call(held, 'events', { batchSeq, events });
  }

  /** Events with keys, without a number. */
  keyed(held: Held, events: Readonly<Record<string, WorkerEvent>>): Promise<Answer<Appended>> {
    const withKeys = Object.entries(events).map(([eventKey, event]) => ({ ...event, eventKey }));
    return this.call(held, 'events', { events: withKeys });
  }

  heartbeats(held: readonly Held[]): Promise<Answer<{ leases: Renewal[] }>> {
    return this.post('heartbeats', { leases: held.map(({ taskId, leaseToken }) => ({ taskId, leaseToken })) });
  }

  /** Does not wait unless told to. */
  signals(
    known: readonly string[] = [],
    waitTimeoutMs = 0,
    signal?: AbortSignal,
  ): Promise<Answer<{ signals: Signal[] }>> {
    return this.post('signals', { workerId: this.workerId, known, waitTimeoutMs }, signal);
  }

  finishStep(
    held: Held,
    batchSeq: number,
    key: string,
    result: unknown,
  ): Promise<Answer<Beat & { eventId: string; result: unknown }>> {
    return this.call(held, 'steps', { batchSeq, key, result });
  }

  heartbeat(held: Held): Promise<Answer<Beat>> {
    return this.call(held, 'heartbeat');
  }

  suspend(held: Held, asked: Question = question()): Promise<Answer<{ suspendId: string; eventId: string }>> {
    return this.call(held, 'suspend', asked);
  }

  complete(held: Held, result: unknown = null): Promise<Answer<{ eventId: string }>> {
    return this.call(held, 'complete', { result });
  }

  fail(held: Held, failure: Failure): Promise<Answer<{ eventId?: string; willRetry: boolean }>> {
    return this.call(held, 'fail', { code: 'BROKEN', message: 'It broke.', ...failure });
  }

  cancelled(held: Held, reason?: string): Promise<Answer<{ eventId: string }>> {
    return this.call(held, 'cancelled', reason === undefined ? {} : { reason });
  }

  release(held: Held): Promise<Answer<undefined>> {
    return this.call(held, 'release');
  }

  /** Any call on a task, also one that no worker would make. */
  call<Body>({ taskId, leaseToken }: Held, name: string, body: object = {}): Promise<Answer<Body>> {
    return this.post(`tasks/${taskId}/${name}`, { leaseToken, ...body });
  }

  post<Body>(path: string, body: unknown, signal?: AbortSignal): Promise<Answer<Body>> {
    return this.#http.request('POST', `/worker/v1/${path}`, {
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${this.token}` },
      body: JSON.stringify(body),
      ...(signal && { signal }),
    });
  }
}
