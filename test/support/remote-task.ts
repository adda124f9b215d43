import { type Answer, type Client, uniqueId } from './client.js';
import { type Failure, type Lease, progress, type Question, WorkerClient, type WorkerEvent } from './worker-client.js';

/** A task that the test itself executes as a worker: the test decides when which event is stored. Fails on every refusal. */
export class RemoteTask {
  #batchSeq = 0;

  private constructor(
    private readonly worker: WorkerClient,
    private lease: Lease,
  ) {}

  /** Created and claimed: its first event is stored. */
  static async begin(client: Client): Promise<RemoteTask> {
    const worker = new WorkerClient(client.url);
    const taskType = uniqueId('remote');
    accepted(await client.create({ clientRequestId: uniqueId(), taskType }));
    return new RemoteTask(worker, await worker.lease(taskType));
  }

  get taskId(): string {
    return this.lease.taskId;
  }

  async append(...events: WorkerEvent[]): Promise<readonly string[]> {
    return accepted(await this.worker.events(this.lease, ++this.#batchSeq, events)).eventIds;
  }

  /** The event of its end. */
  async finishStep(key: string, result: unknown): Promise<string> {
    const body = { batchSeq: ++this.#batchSeq, key, result };
    return accepted(await this.worker.call<{ eventId: string }>(this.lease, 'steps', body)).eventId;
  }

  /** Stores an event and answers its id. */
  async progress(percent: number): Promise<string> {
    return (await this.append(progress(percent)))[0] ?? '';
  }

  async complete(result: unknown = null): Promise<void> {
    accepted(await this.worker.complete(this.lease, result));
  }

  async fail(failure: Failure): Promise<void> {
    accepted(await this.worker.fail(this.lease, failure));
  }

  async release(): Promise<void> {
    accepted(await this.worker.release(this.lease));
  }

  async suspend(question?: Question): Promise<string> {
    return accepted(await this.worker.suspend(this.lease, question)).suspendId;
  }

  /** Claims the task again, after an attempt that ended or an answer. */
  async resume(): Promise<void> {
    this.lease = await this.worker.lease(this.lease.taskType);
    this.#batchSeq = 0;
  }
}

function accepted<Body>({ status, text, body }: Answer<Body>): Body {
  if (status >= 300) throw new Error(`refused with ${status}: ${text}`);
  return body;
}
