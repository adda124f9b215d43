import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { endsTask } from '../../protocol/src/events.js';
import { CLAIM_WAIT_MS, MAX_EVENTS } from '../../protocol/src/limits.js';
import type { JsonObject } from '../../protocol/src/json-schema.js';
import type { Answer, ApiClient, HeaderMap } from './api-client.js';
import { Broken, NotChecked } from './outcomes.js';
import { demandAnswer, refusal, shown } from './demands.js';
import { DrivenTask, accepted, message, output, progress } from './driven-task.js';
import type { Follower } from './follower.js';
import type { Installation } from './installation.js';
import { rawElements } from './raw-elements.js';
import { SseFollower, type SseOptions } from './sse.js';
import { TRANSPORTS, type Transport } from './transports.js';
import { Socket, type SocketOptions } from './web-socket.js';
import type { WorkerClient } from './worker-client.js';
import type { Created, Envelope, Lease } from './wire.js';

/** A task that is over, and its log as the pages show it. */
export interface EndedTask {
  readonly taskId: string;
  readonly log: readonly string[];
  readonly headEventId: string;
}

/** The place of one clause. It has the principals that the clause may use, and closes everything that the clause opened. */
export class Scene {
  readonly #followers: Follower[] = [];
  readonly #sockets: Socket[] = [];
  readonly #driven: DrivenTask[] = [];
  readonly #created = new Set<{ readonly by: ApiClient; readonly taskId: string }>();

  constructor(private readonly installation: Installation) {}

  /** The principal whose credentials were given. */
  get a(): ApiClient {
    return this.installation.principal;
  }

  /** The second principal. */
  get b(): ApiClient {
    const { other } = this.installation;
    if (!other) throw new NotChecked('there is no second principal');
    return other;
  }

  /** A client without credentials. */
  get stranger(): ApiClient {
    return this.installation.stranger;
  }

  get worker(): WorkerClient {
    const { worker } = this.installation;
    if (!worker) throw new NotChecked('there is no worker token');
    return worker;
  }

  get hasWorker(): boolean {
    return this.installation.worker !== undefined;
  }

  /** How long to wait for what has to come. */
  get patienceMs(): number {
    return this.installation.patienceMs;
  }

  /** How long to wait for what must not come. */
  get quietMs(): number {
    return this.installation.quietMs;
  }

  get streamMaxSeconds(): number {
    return this.installation.streamMaxSeconds ?? 0;
  }

  newId(): string {
    return `conformance-${randomUUID()}`;
  }

  /** A type of task that nobody else executes. */
  newType(): string {
    return `conformance.${randomUUID()}`;
  }

  /** Creates a task. The scene ends it when the clause is over. */
  async create(body: JsonObject, { by = this.a, headers = {} }: { by?: ApiClient; headers?: HeaderMap } = {}) {
    const answer = await by.create(body, headers);
    this.remember(answer, by);
    return answer;
  }

  remember(answer: Answer<unknown>, by: ApiClient = this.a): void {
    const { taskId } = (answer.body ?? {}) as Partial<Created>;
    if (answer.status < 300 && typeof taskId === 'string') this.#created.add({ by, taskId });
  }

  /** A task that nobody executes. */
  async waiting(more: JsonObject = {}, by: ApiClient = this.a): Promise<{ taskId: string; taskType: string }> {
    const taskType = this.newType();
    const answer = await this.createKnown({ clientRequestId: this.newId(), taskType, ...more }, taskType, by);
    demandAnswer(answer, 201);
    return { taskId: answer.body.taskId, taskType };
  }

  /** A task that the kit executes: created and claimed, so its first event is stored. */
  async begin(more: JsonObject = {}, by: ApiClient = this.a): Promise<DrivenTask> {
    const { taskId, taskType } = await this.waiting(more, by);
    return this.claimed(taskId, taskType);
  }

  async claimed(taskId: string, taskType: string): Promise<DrivenTask> {
    const { leases } = accepted(await this.worker.claim([taskType], { waitTimeoutMs: this.claimMs }));
    const lease = leases.find((given) => given.taskId === taskId);
    if (!lease) throw new Broken(`the task ${taskId} was not handed out within ${this.claimMs} ms`);
    return this.driven(lease);
  }

  driven(lease: Lease): DrivenTask {
    const task = new DrivenTask(this.worker, lease, this.patienceMs);
    this.#driven.push(task);
    return task;
  }

  get claimMs(): number {
    return Math.min(this.patienceMs, CLAIM_WAIT_MS.maximum);
  }

  /** Some type that a create may name: the task waits, or the demo executes it. */
  get anyType(): string {
    return this.hasWorker ? this.newType() : 'demo.greet';
  }

  /** One task for all clauses that only read: over, with events of several types. */
  ended(): Promise<EndedTask> {
    return this.once('ended task', async (scene) => {
      const taskId = await (this.hasWorker ? scene.endedByWorker() : scene.endedByDemo());
      const log = await scene.eventually('the terminal event is in the log', async () => {
        const stored = await scene.log(taskId);
        return stored.some((raw) => endsTask((JSON.parse(raw) as Envelope).type)) && stored;
      });
      return { taskId, log, headEventId: String(log.length) };
    });
  }

  /** The envelopes of a task as the pages have them. */
  async log(taskId: string, by: ApiClient = this.a): Promise<readonly string[]> {
    const log: string[] = [];
    for (let cursor = '0'; ; ) {
      const answer = await by.page(taskId, { afterEventId: cursor, maxEvents: MAX_EVENTS.maximum, waitTimeoutMs: 0 });
      demandAnswer(answer, 200);
      log.push(...rawElements(answer.text, 'events'));
      const { nextAfterEventId = '0', hasMore } = answer.body;
      if (!hasMore || nextAfterEventId === cursor) return log;
      cursor = nextAfterEventId;
    }
  }

  async events(taskId: string): Promise<readonly Envelope[]> {
    return (await this.log(taskId)).map((raw) => JSON.parse(raw) as Envelope);
  }

  /** Plays once, on a scene of its own, what several clauses look at. */
  once<T>(name: string, play: (scene: Scene) => Promise<T>): Promise<T> {
    return this.installation.once(name, async () => {
      const scene = new Scene(this.installation);
      try {
        return await play(scene);
      } finally {
        await scene.close();
      }
    });
  }

  follow(transport: Transport, taskId: string, cursor?: string, by: ApiClient = this.a): Follower {
    const follower = TRANSPORTS[transport](by, taskId, cursor, this.patienceMs);
    this.#followers.push(follower);
    return follower;
  }

  sse(taskId: string, cursor?: string, more: SseOptions & { readonly by?: ApiClient } = {}): SseFollower {
    const follower = new SseFollower(more.by ?? this.a, taskId, cursor, this.patienceMs, more);
    this.#followers.push(follower);
    return follower;
  }

  /** The feed of changes. */
  changesStream(cursor?: string, query = ''): SseFollower {
    return this.sse('', cursor, { path: '/api/v1/tasks/changes/stream', query });
  }

  async socket(options: SocketOptions = {}, by: ApiClient = this.a): Promise<Socket> {
    return this.unopenedSocket(options, by).opened();
  }

  unopenedSocket(options: SocketOptions = {}, by: ApiClient = this.a): Socket {
    const socket = new Socket(by, this.patienceMs, options);
    this.#sockets.push(socket);
    return socket;
  }

  /** Asks again until it is so. @throws Broken */
  async eventually<T>(what: string, ask: () => Promise<T | undefined | false>, withinMs = this.patienceMs): Promise<T> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      if (performance.now() > deadline) throw new Broken(`not within ${withinMs} ms: ${what}`);
      await delay(25);
    }
  }

  quiet(ms = this.quietMs): Promise<void> {
    return delay(ms);
  }

  /** Closes every open stream and socket, and ends every task that runs. */
  async close(): Promise<void> {
    for (const follower of this.#followers) follower.close();
    for (const socket of this.#sockets) socket.leave();
    for (const { by, taskId } of this.#created) await this.endTask(by, taskId).catch(() => undefined);
  }

  /** Its worker ends it where the kit holds it; otherwise nobody runs it, and it ends when it is cancelled. */
  private async endTask(by: ApiClient, taskId: string): Promise<void> {
    const held = this.#driven.filter((task) => task.taskId === taskId);
    if (held.some(({ isOver }) => isOver)) return;
    for (const { worker, lease } of held) {
      if ((await worker.call(lease, 'cancelled')).status === 200) return;
    }
    await by.cancel(taskId);
  }

  /** Where a create of an unknown type is refused, a claim that names the type makes it known. */
  private async createKnown(body: JsonObject, taskType: string, by: ApiClient): Promise<Answer<Created>> {
    const first = await this.create(body, { by });
    const [refused] = refusal('REQUEST_VALIDATION_ERROR');
    if (first.status !== refused) return first;
    const left = new AbortController();
    const claim = this.worker.claim([taskType], { waitTimeoutMs: 1_000, signal: left.signal }).catch(() => undefined);
    try {
      return await this.eventually(shown(first), async () => {
        const answer = await this.create(body, { by });
        return answer.status !== refused && answer;
      });
    } finally {
      left.abort();
      const given = await claim;
      for (const lease of given?.body.leases ?? []) await this.worker.call(lease, 'release');
    }
  }

  private async endedByWorker(): Promise<string> {
    const task = await this.begin({ input: { for: 'reading' } });
    await task.append(progress(12.5, { stage: 'first', message: 'Größe: ½ \u2028 "quoted" \\ </script> 😀' }));
    await task.append(message('one'), output('Octo'), output('ber\n'), message('two', { level: 'debug' }));
    await task.append(output('é', 'replace', 'other'), progress(100));
    await task.complete({ text: 'done', list: [1, 2.5, null, true], nested: { deep: {} } });
    return task.taskId;
  }

  private async endedByDemo(): Promise<string> {
    const input = { name: 'Ada', steps: 6, stepMs: 10 };
    const answer = await this.create({ clientRequestId: this.newId(), taskType: 'demo.greet', input });
    const { taskId } = accepted(answer);
    await this.eventually(
      'demo.greet is over',
      async () => (await this.a.snapshot(taskId)).body.status === 'COMPLETED',
    );
    return taskId;
  }
}
