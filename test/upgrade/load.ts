import { setTimeout as delay } from 'node:timers/promises';
import { type Followed, subscribe } from '../faults/subscriber.js';
import { type Answer, Client, type Created, type TaskList, uniqueId } from '../support/client.js';
import { seededRandom, transports } from '../support/follow.js';
import { eventually } from '../support/service.js';
import { type Lease, message, output, progress, question, WorkerClient } from '../support/worker-client.js';

const TYPES = ['load.plain', 'load.ask', 'demo.stream', 'demo.approval'] as const;
/** Those of remote workers; the service runs the others. */
const WORKED = ['load.plain', 'load.ask'];
/** Of each task, over two transports. */
const SUBSCRIBERS = 2;
const AGAIN_MS = 50;
const SETTLED_MS = 60_000;

/** What clients, workers and owners do all the time, through one address. Each repeats a call until it is answered, as documented. */
export class Load {
  readonly taskIds: string[] = [];
  /** Answers that no caller expects, by phase and call: every 5xx is one, but for a 503 with `Retry-After`. */
  readonly oddities: string[] = [];
  /** Refusals that ask to come back, and connections without an answer, by phase. */
  readonly repeated: Record<string, number> = {};
  phase = '';
  readonly #owner: Client;
  /** The batches that were answered, in the form that packages/checker reads. */
  readonly #appended: object[] = [];
  readonly #following: Promise<Followed>[] = [];
  readonly #running: Promise<void>[] = [];
  readonly #over = new AbortController();
  readonly #giveUp = new AbortController();
  #isCreating = true;
  #ended = 0;

  constructor(
    private readonly url: string,
    private readonly everyMs: number,
  ) {
    this.#owner = new Client(url, uniqueId('owner'));
    const worker = new WorkerClient(url);
    this.#running.push(this.create(), this.answer(), ...[1, 2, 3].map(() => this.work(worker)));
  }

  /** Creates no more, waits until every task is over and every reader knows it. Answers what readers and workers know. */
  async settle(): Promise<readonly Followed[]> {
    this.#isCreating = false;
    const timer = setTimeout(() => this.#giveUp.abort(), SETTLED_MS);
    const followed = await Promise.all(this.#following);
    clearTimeout(timer);
    this.#over.abort();
    await Promise.all(this.#running);
    return [...followed, { history: this.#appended, connections: 0, oddities: [] }];
  }

  private async create(): Promise<void> {
    for (let n = 0; this.#isCreating; n += 1) {
      const taskType = TYPES[n % TYPES.length] ?? TYPES[0];
      const input = taskType === 'demo.stream' ? { chunks: 10, intervalMs: 40 } : { n, text: 'sep\u2028' };
      const body = { clientRequestId: uniqueId(), taskType, ...(taskType !== 'demo.approval' && { input }) };
      const { body: created } = await this.call<Created>('create', [200, 201], () => this.#owner.create(body));
      if (created.taskId !== undefined) this.follow(created.taskId, n);
      await delay(this.everyMs);
    }
  }

  private follow(taskId: string, n: number): void {
    this.taskIds.push(taskId);
    const names = Object.keys(transports) as (keyof typeof transports)[];
    for (let s = 0; s < SUBSCRIBERS; s += 1) {
      const transport = names[(n + s) % names.length] ?? 'SSE';
      const options = { name: `${transport} ${s}/${taskId}`, url: this.url, taskId, transport, maxRun: 4 };
      const random = seededRandom(n * SUBSCRIBERS + s);
      const following = subscribe({ ...options, headers: this.#owner.headers, random, giveUp: this.#giveUp.signal });
      this.#following.push(following.finally(() => (this.#ended += 1)));
    }
  }

  private async work(worker: WorkerClient): Promise<void> {
    while (!this.#over.signal.aborted) {
      const claim = { taskTypes: WORKED, maxTasks: 2, waitTimeoutMs: 500 };
      const { body } = await this.call<{ leases: Lease[] }>('claim', [200], () => worker.claim(claim));
      await Promise.all((body?.leases ?? []).map((lease) => this.run(worker, lease)));
    }
  }

  private async run(worker: WorkerClient, lease: Lease): Promise<void> {
    const isFirst = lease.answers.length === 0;
    for (let batchSeq = 1; batchSeq <= 4; batchSeq += 1) {
      const events = [progress(batchSeq * 20), output(`piece ${batchSeq} `), output('of it'), message('said')];
      const { status, body } = await this.call('append', [200, 409], () => worker.events(lease, batchSeq, events));
      if (status === 409) return;
      this.#appended.push({ kind: 'appended', taskId: lease.taskId, eventIds: body.eventIds });
      await delay(30);
    }
    await this.call('heartbeat', [200, 409], () => worker.heartbeat(lease));
    if (lease.taskType === 'load.ask' && isFirst) {
      await this.call('suspend', [200, 409], () => worker.suspend(lease, { ...question(), suspendId: 'q' }));
    } else {
      await this.call('complete', [200, 409], () => worker.complete(lease, { attempt: lease.attempt }));
    }
  }

  /** The owner answers what is asked. */
  private async answer(): Promise<void> {
    while (!this.#over.signal.aborted) {
      const { body } = await this.call<TaskList>('list', [200], () => this.#owner.list({ suspended: 'true' }));
      for (const { taskId, openSuspension } of body?.items ?? []) {
        const suspendId = String(openSuspension?.['suspendId']);
        const action = { clientActionId: `tap-${suspendId}`, suspendId, actionType: 'approve' };
        await this.call('act', [200, 202], () => this.#owner.act(taskId, action));
      }
      await delay(100);
    }
  }

  private async call<Body>(
    name: string,
    expected: readonly number[],
    send: () => Promise<Answer<Body>>,
  ): Promise<Answer<Body>> {
    for (;;) {
      const { phase } = this;
      const answer = await send().catch(() => undefined);
      if (answer && expected.includes(answer.status)) return answer;
      const comesBack = answer === undefined || (answer.status === 503 && answer.headers.has('retry-after'));
      if (comesBack) this.repeated[phase] = (this.repeated[phase] ?? 0) + 1;
      else {
        this.oddities.push(`${phase}, ${name}: ${answer.status} ${answer.text.slice(0, 200)}`);
        return answer;
      }
      if (this.#giveUp.signal.aborted) throw new Error(`${phase}, ${name}: nobody answers`);
      await delay(AGAIN_MS);
    }
  }

  /** Waits until this number of readers more have seen the end of a task. */
  async through(readers: number): Promise<void> {
    const wanted = this.#ended + readers;
    await eventually(`${readers} readers are through`, () => this.#ended >= wanted, SETTLED_MS);
  }
}
