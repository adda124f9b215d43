import type { JsonObject } from '../../protocol/src/json-schema.js';
import type { Answer as Result, Renewal, Service, Signal } from '../../protocol/src/snapshots.js';
import type { Answer, ApiClient, HeaderMap } from './api-client.js';
import type { Lease, WorkerEvent } from './wire.js';

/** All that a call needs to prove that it may. */
export type Held = Pick<Lease, 'taskId' | 'leaseToken'>;

/** The worker protocol, a method a call. */
export class WorkerClient {
  readonly #headers: HeaderMap;

  constructor(
    private readonly http: ApiClient,
    token: string,
  ) {
    this.#headers = { Authorization: `Bearer ${token}` };
  }

  service(): Promise<Answer<Service>> {
    return this.http.request('GET', '/worker/v1', { headers: this.#headers });
  }

  claim(
    taskTypes: readonly string[],
    {
      maxTasks = 1,
      waitTimeoutMs = 0,
      workerId = 'conformance',
      steps = false,
      leaseSeconds,
      policies,
      signal,
    }: {
      maxTasks?: number;
      waitTimeoutMs?: number;
      workerId?: string;
      steps?: boolean;
      leaseSeconds?: number;
      /** What applies to tasks, by type. */
      policies?: Readonly<Record<string, object>>;
      signal?: AbortSignal;
    } = {},
  ): Promise<Answer<{ leases: readonly Lease[] }>> {
    const registered = policies && { version: 'conformance', policies };
    const added = { ...(steps && { steps }), ...(leaseSeconds !== undefined && { leaseSeconds }), ...registered };
    const body = { workerId, taskTypes, maxTasks, waitTimeoutMs, ...added };
    return this.http.post('/worker/v1/leases', body, this.#headers, signal);
  }

  heartbeats(held: readonly Held[]): Promise<Answer<{ leases: readonly Renewal[] }>> {
    const leases = held.map(({ taskId, leaseToken }) => ({ taskId, leaseToken }));
    return this.http.post('/worker/v1/heartbeats', { leases }, this.#headers);
  }

  signals(
    workerId: string,
    waitTimeoutMs: number,
    known: readonly string[] = [],
  ): Promise<Answer<{ signals: readonly Signal[] }>> {
    return this.http.post('/worker/v1/signals', { workerId, known, waitTimeoutMs }, this.#headers);
  }

  events(held: Held, batchSeq: number, events: readonly WorkerEvent[]): Promise<Answer<{ eventIds: string[] }>> {
    return this.call(held, 'events', { batchSeq, events });
  }

  attach(
    { taskId, leaseToken }: Held,
    filename: string,
    bytes: string,
    type: string,
  ): Promise<Answer<Result<'AttachReceipt'>>> {
    const path = `/worker/v1/tasks/${taskId}/attachments?filename=${encodeURIComponent(filename)}`;
    const headers = { ...this.#headers, 'X-Lease-Token': leaseToken, 'Content-Type': type };
    return this.http.request('POST', path, { headers, body: bytes });
  }

  /** Any call on a task, whose members are JSON text. */
  callWith<Body>({ taskId, leaseToken }: Held, name: string, members: string): Promise<Answer<Body>> {
    const headers = { 'Content-Type': 'application/json', ...this.#headers };
    const body = `{"leaseToken":${JSON.stringify(leaseToken)},${members}}`;
    return this.http.request('POST', `/worker/v1/tasks/${taskId}/${name}`, { headers, body });
  }

  /** Any call on a task. */
  call<Body>({ taskId, leaseToken }: Held, name: string, body: JsonObject = {}): Promise<Answer<Body>> {
    return this.http.post(`/worker/v1/tasks/${taskId}/${name}`, { leaseToken, ...body }, this.#headers);
  }
}
