import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { ApiClient, type HeaderMap } from './api-client.js';
import { shown } from './demands.js';
import { WorkerClient } from './worker-client.js';

/** What a clause needs besides the principal whose credentials were given. */
export type Need = 'task' | 'worker' | 'other-principal' | 'maximal-age' | 'follow-tokens';

export interface Access {
  readonly baseUrl: string;
  readonly headers: HeaderMap;
  readonly otherHeaders?: HeaderMap;
  readonly workerToken?: string;
  readonly streamMaxSeconds?: number;
  readonly patienceMs: number;
}

/** Nobody answers at the address, or not to these credentials. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

/** How long a request may take: longer than the longest long-poll that the kit asks for. */
const REQUEST_TIMEOUT_MS = 45_000;

/** The service that is checked, and what it lets the kit do. */
export class Installation {
  readonly principal: ApiClient;
  readonly other: ApiClient | undefined;
  readonly stranger: ApiClient;
  readonly patienceMs: number;
  readonly quietMs: number;
  readonly streamMaxSeconds: number | undefined;
  worker: WorkerClient | undefined;
  readonly #missing = new Map<Need, string>();
  readonly #shared = new Map<string, Promise<unknown>>();

  private constructor(private readonly access: Access) {
    const { baseUrl, headers, otherHeaders, patienceMs, streamMaxSeconds } = access;
    this.principal = new ApiClient(baseUrl, headers, REQUEST_TIMEOUT_MS);
    this.other = otherHeaders && new ApiClient(baseUrl, otherHeaders, REQUEST_TIMEOUT_MS);
    this.stranger = new ApiClient(baseUrl, {}, REQUEST_TIMEOUT_MS);
    this.patienceMs = patienceMs;
    this.quietMs = Math.min(250, patienceMs / 4);
    this.streamMaxSeconds = streamMaxSeconds;
  }

  /** @throws Unreachable */
  static async at(access: Access): Promise<Installation> {
    const installation = new Installation(access);
    await installation.lookAt(installation.principal, '--header');
    if (installation.other) await installation.lookAt(installation.other, '--other-header');
    await installation.takeStock();
    return installation;
  }

  /** Why clauses with this need cannot be checked, if so. */
  missing(need: Need): string | undefined {
    return this.#missing.get(need);
  }

  /** The first clause that needs it makes it for all. */
  once<T>(name: string, make: () => Promise<T>): Promise<T> {
    const made = this.#shared.get(name) ?? make();
    this.#shared.set(name, made);
    return made as Promise<T>;
  }

  private async lookAt(client: ApiClient, option: string): Promise<void> {
    const answer = await client.list({ limit: 1 }).catch((error: Error) => {
      throw new Unreachable(error.message);
    });
    if (answer.status !== 200) throw new Unreachable(`${shown(answer)}; the credentials are given by ${option}`);
  }

  private async takeStock(): Promise<void> {
    const { workerToken, otherHeaders, streamMaxSeconds } = this.access;
    if (otherHeaders === undefined) this.#missing.set('other-principal', 'needs a second principal: --other-header');
    if (streamMaxSeconds === undefined) {
      this.#missing.set('maximal-age', 'needs a service with a small STREAM_MAX_SECONDS: --stream-max-seconds');
    }
    const { features = [] } = ((await this.principal.service()).body ?? {}) as { features?: readonly string[] };
    if (!features.includes('followTokens')) this.#missing.set('follow-tokens', 'needs a service with follow tokens');
    if (workerToken === undefined) this.#missing.set('worker', 'needs a worker token: --worker-token');
    else await this.lookForWork(new WorkerClient(this.stranger, workerToken));
    if (this.worker === undefined && !(await this.tryDemo())) {
      this.#missing.set('task', 'needs tasks that end: a worker token (--worker-token), or the type demo.greet');
    }
  }

  private async lookForWork(worker: WorkerClient): Promise<void> {
    const answer = await worker.claim([`conformance.${randomUUID()}`]);
    if (answer.status === 200) this.worker = worker;
    else this.#missing.set('worker', `needs a worker token that the service takes: ${shown(answer)}`);
  }

  /** Creates a task of the demo. @returns whether somebody executes it: a service may take every type, and wait for a worker */
  private async tryDemo(): Promise<boolean> {
    const clientRequestId = `conformance-${randomUUID()}`;
    const body = { clientRequestId, taskType: 'demo.greet', input: { steps: 1, stepMs: 1 } };
    const { status, body: created } = await this.principal.create(body);
    if (status !== 201) return false;
    const deadline = performance.now() + this.patienceMs;
    while (performance.now() < deadline) {
      if ((await this.principal.snapshot(created.taskId)).body.status === 'COMPLETED') return true;
      await delay(50);
    }
    await this.principal.cancel(created.taskId);
    return false;
  }
}
