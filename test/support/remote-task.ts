import { type Client, uniqueId } from './client.js';

export const WORKER_TOKEN = 'a-token-of-workers-of-at-least-32-characters';

/** What a service needs besides for tasks of this kind. */
export const WORKER_ENV = { EXECUTOR: 'inline,worker', WORKER_TOKENS: WORKER_TOKEN };

/** A task that the test itself executes, over the worker protocol: it says when which event is stored. */
export class RemoteTask {
  #batchSeq = 0;

  private constructor(
    private readonly url: string,
    readonly taskId: string,
    readonly taskType: string,
    private leaseToken: string,
  ) {}

  /** Created and claimed: its first event is stored. */
  static async begin(client: Client): Promise<RemoteTask> {
    const taskType = uniqueId('remote');
    const { taskId } = (await client.create({ clientRequestId: uniqueId(), taskType })).body;
    return new RemoteTask(client.url, taskId, taskType, await claim(client.url, taskType));
  }

  async append(...events: { type: string; payload: Record<string, unknown> }[]): Promise<string[]> {
    const { eventIds } = (await this.call('events', { batchSeq: ++this.#batchSeq, events })) as { eventIds: string[] };
    return eventIds;
  }

  /** Stores an event and answers its id. */
  async progress(progress: number, more: Record<string, unknown> = {}): Promise<string> {
    const [eventId = ''] = await this.append({ type: 'TASK_PROGRESS', payload: { progress, ...more } });
    return eventId;
  }

  async complete(result: unknown = {}): Promise<void> {
    await this.call('complete', { result });
  }

  async fail(failure: { code: string; message: string; retryable: boolean; retryAfterMs?: number }): Promise<void> {
    await this.call('fail', failure);
  }

  async suspend(question: Record<string, unknown>): Promise<void> {
    await this.call('suspend', question);
  }

  /** Claims the task once more, after an attempt that ended. */
  async resume(): Promise<void> {
    this.leaseToken = await claim(this.url, this.taskType);
    this.#batchSeq = 0;
  }

  private call(path: string, body: Record<string, unknown>): Promise<unknown> {
    return post(`${this.url}/worker/v1/tasks/${this.taskId}/${path}`, { leaseToken: this.leaseToken, ...body });
  }
}

async function claim(url: string, taskType: string): Promise<string> {
  const wanted = { workerId: 'test', taskTypes: [taskType], maxTasks: 1, waitTimeoutMs: 10_000 };
  const { leases } = (await post(`${url}/worker/v1/leases`, wanted)) as { leases: { leaseToken: string }[] };
  if (leases[0] === undefined) throw new Error(`nobody asks for ${taskType}`);
  return leases[0].leaseToken;
}

async function post(url: string, body: unknown): Promise<unknown> {
  const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${WORKER_TOKEN}` };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${url}: ${response.status} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}
