import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import pg from 'pg';
import type { AuthContext } from '../../src/auth/auth-context.js';
import { AppendWorkerEvents } from '../../src/execution/append-worker-events.js';
import { FinishWorkerStep } from '../../src/execution/finish-worker-step.js';
import { JsonText } from '../../src/json/json-text.js';
import { LiveReplicas } from '../../src/replicas/live-replicas.js';
import { TaskBridgeError } from '../../src/errors.js';
import { CancelTask } from '../../src/tasks/cancel-task.js';
import { ClaimTasks } from '../../src/tasks/claim-tasks.js';
import { QueueOrder } from '../../src/tasks/queue-order.js';
import { EndAttempt, type Ended, type Ending } from '../../src/tasks/end-attempt.js';
import { EndLostAttempts } from '../../src/tasks/end-lost-attempts.js';
import { ExtendLease } from '../../src/tasks/extend-lease.js';
import { SubmitAction } from '../../src/tasks/submit-action.js';
import type { Answer } from '../../src/tasks/store/suspensions.js';
import { SubmitTask } from '../../src/tasks/submit-task.js';
import { uniqueId } from '../support/client.js';
import { checkInvariants, storedEnvelopes } from '../support/fold.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { createReplica, type Replica } from '../support/replica.js';

// The promises to clients and workers, as a small model: a task as an object in memory, written after the protocol documents and
// without a look at `decide`. The same commands go to it and to the real use-cases on a real PostgreSQL.

const full = process.env['FULL'] === '1';
const MAX_ATTEMPTS = 3;
const MAX_EVENTS = 14;
const MAX_TASKS = 4;
/** The actions that a question allows. */
const ALLOWED = ['yes', 'no'];

type Outcome = string;

interface ModelQuestion {
  state: 'open' | 'answered' | 'closed';
  /** Whether it has a time limit; and whether that is over. */
  readonly limited: boolean;
  expired: boolean;
}

class TaskModel {
  status = 'ACCEPTED';
  state: 'queued' | 'leased' | 'suspended' | 'over' = 'queued';
  attempt = 0;
  /** The types of its events, and where a retry says that what counts ends. */
  readonly log: string[] = [];
  open: string | undefined;
  cancelling = false;
  graceOver = false;
  leaseExpired = false;
  backingOff = false;
  readonly tokens: string[] = [];
  readonly questions = new Map<string, ModelQuestion>();
  readonly receipts = new Map<string, string>();
  /** The results of finished steps, by key. */
  readonly steps = new Map<string, { readonly result: string; readonly eventId: number }>();
  #resumes = false;
  #spent = 0;
  #base = 0;
  #batches: { content: string; ids: string[] }[] = [];
  readonly #endings = new Map<string, { call: string; answer: Outcome }>();

  constructor(readonly taskId: string) {}

  get head(): number {
    return this.log.length;
  }

  get token(): string | undefined {
    return this.state === 'leased' ? this.tokens.at(-1) : undefined;
  }

  get claimable(): boolean {
    return this.state === 'queued' && !this.backingOff;
  }

  get nextSeq(): number {
    return this.#batches.length + 1;
  }

  claim(token: string): void {
    if (this.head === 0) this.log.push('TASK_STARTED');
    this.status = 'RUNNING';
    if (!this.#resumes) {
      this.attempt += 1;
      if (this.steps.size === 0) this.#base = this.head;
    }
    this.state = 'leased';
    this.#resumes = false;
    this.leaseExpired = false;
    this.#batches = [];
    this.tokens.push(token);
  }

  /** `m` is a message, `o` is output: adjacent output is one event. */
  append(token: string, seq: number, events: string): Outcome {
    if (!this.#holds(token)) return 'LEASE_LOST';
    const earlier = this.#batches[seq - 1];
    const content = events.replaceAll('s', '');
    if (earlier) return earlier.content === content ? idsOf(events, earlier.ids) : 'IDEMPOTENCY_CONFLICT';
    if (seq !== this.nextSeq) return `BATCH_OUT_OF_ORDER ${this.nextSeq}`;
    const stored = content.replaceAll(/o+/g, 'o');
    if (!this.#hasRoomFor(stored.length)) {
      this.#end('FAILED');
      return 'LEASE_LOST';
    }
    const joined = [...stored].map((kind, n) => ({ kind, id: String(this.head + n + 1) }));
    this.log.push(...joined.map(({ kind }) => (kind === 'o' ? 'TASK_OUTPUT' : 'TASK_MESSAGE')));
    const ids: string[] = [];
    let at = -1;
    [...content].forEach((kind, n) => {
      if (kind === 'm' || content[n - 1] !== 'o') at += 1;
      ids.push(joined[at]?.id ?? '');
    });
    this.#batches.push({ content, ids });
    return idsOf(events, ids);
  }

  /** The first result of a step counts, and every end of one is a batch. */
  finishStep(token: string, seq: number, key: string, result: string): Outcome {
    if (!this.#holds(token)) return 'LEASE_LOST';
    const earlier = this.#batches[seq - 1];
    const stored = this.steps.get(key);
    const answer = () => `${this.steps.get(key)?.eventId} ${this.steps.get(key)?.result}`;
    if (earlier) {
      const isIt = stored !== undefined && (earlier.content === '' || earlier.ids[0] === String(stored.eventId));
      return isIt ? answer() : 'IDEMPOTENCY_CONFLICT';
    }
    if (seq !== this.nextSeq) return `BATCH_OUT_OF_ORDER ${this.nextSeq}`;
    if (stored) {
      this.#batches.push({ content: '', ids: [] });
      return answer();
    }
    if (!this.#hasRoomFor(1)) {
      this.#end('FAILED');
      return 'LEASE_LOST';
    }
    this.log.push('TASK_STEP');
    this.#base = this.head;
    this.steps.set(key, { result, eventId: this.head });
    this.#batches.push({ content: `step ${key}`, ids: [String(this.head)] });
    return answer();
  }

  /** Revives a lease that expired, as nobody took it. */
  heartbeat(token: string): Outcome {
    if (this.token !== token) return 'LEASE_LOST';
    this.leaseExpired = false;
    return `alive${this.cancelling ? ', cancelling' : ''}`;
  }

  complete = (token: string) => this.#ending(token, 'complete', () => this.#end('COMPLETED'));
  confirm = (token: string) => this.#ending(token, 'confirm', () => this.#end('CANCELLED'));

  fail(token: string, retryable: boolean): Outcome {
    return this.#ending(token, `fail ${retryable}`, () => (retryable ? this.#lose() : this.#end('FAILED')));
  }

  release(token: string): Outcome {
    return this.#ending(token, 'release', () => {
      if (this.cancelling) this.#end('CANCELLED');
      else if (this.#hasRoomFor(1)) this.#retry(false);
      else this.#end('FAILED');
    });
  }

  suspend(token: string, suspendId: string, limited: boolean): Outcome {
    const call = `suspend ${suspendId} ${limited}`;
    const asksAgain = !this.cancelling && this.#hasRoomFor(3) && this.questions.has(suspendId);
    if (this.#holds(token) && asksAgain) return 'INVALID_TASK_STATE';
    return this.#ending(token, call, () => {
      if (this.cancelling) return this.#end('CANCELLED');
      if (!this.#hasRoomFor(3)) return this.#end('FAILED');
      this.log.push('TASK_SUSPENDED');
      this.questions.set(suspendId, { state: 'open', limited, expired: false });
      this.open = suspendId;
      this.state = 'suspended';
    });
  }

  act(clientActionId: string, suspendId: string, actionType: string): Outcome {
    const content = `${suspendId} ${actionType}`;
    const receipt = this.receipts.get(clientActionId);
    if (receipt !== undefined) return receipt === content ? 'DEDUPLICATED' : 'IDEMPOTENCY_CONFLICT';
    const question = this.questions.get(suspendId);
    if (!question) return 'NOT_FOUND';
    if (question.state === 'answered') return 'REJECTED_ALREADY_RESOLVED';
    if (question.expired) return 'REJECTED_EXPIRED';
    if (this.state === 'over') return 'TASK_ALREADY_TERMINAL';
    if (!ALLOWED.includes(actionType)) return 'ACTION_NOT_ALLOWED';
    this.receipts.set(clientActionId, content);
    question.state = 'answered';
    const isVoid = this.log.slice(this.#base).includes('TASK_OUTPUT');
    this.log.push('TASK_ACTION_ACCEPTED', ...(isVoid ? [`TASK_RESUMED ${this.#base}`] : []));
    this.open = undefined;
    this.state = 'queued';
    this.#resumes = true;
    return 'ACCEPTED';
  }

  cancel(): Outcome {
    if (this.state === 'over') return 'ALREADY_TERMINAL';
    if (this.state === 'leased') this.cancelling = true;
    else this.#end('CANCELLED');
    return 'CANCELLATION_REQUESTED';
  }

  reap(): void {
    if (this.state === 'leased' && this.leaseExpired) this.#lose();
    else if (this.state === 'leased' && this.cancelling && this.graceOver) this.#end('CANCELLED');
    else if (this.open !== undefined && this.questions.get(this.open)?.expired) this.#end('FAILED');
  }

  #holds(token: string): boolean {
    return this.token === token && !this.leaseExpired;
  }

  /** The place of the terminal event is kept. */
  #hasRoomFor(events: number): boolean {
    return this.head + events < MAX_EVENTS;
  }

  #ending(token: string, call: string, end: () => void): Outcome {
    const earlier = this.#endings.get(token);
    if (earlier) return earlier.call === call ? earlier.answer : 'LEASE_LOST';
    if (!this.#holds(token)) return 'LEASE_LOST';
    end();
    const answer = `${this.head}${this.state === 'queued' ? ', will retry' : ''}`;
    this.#endings.set(token, { call, answer });
    return answer;
  }

  /** An attempt ended without a result. */
  #lose(): void {
    if (this.cancelling) return this.#end('CANCELLED');
    this.#spent += 1;
    if (this.#spent >= MAX_ATTEMPTS || !this.#hasRoomFor(1)) return this.#end('FAILED');
    this.#retry(true);
  }

  #retry(backingOff: boolean): void {
    this.log.push(`TASK_RETRYING ${this.attempt + 1} ${this.#base}`);
    this.state = 'queued';
    this.backingOff = backingOff;
  }

  #end(status: string): void {
    this.log.push(`TASK_${status}`);
    this.status = status;
    this.state = 'over';
    if (this.open !== undefined) (this.questions.get(this.open) as ModelQuestion).state = 'closed';
    this.open = undefined;
  }
}

/** A worker's own TASK_STARTED (`s`) is the first event, whatever comes with it. */
function idsOf(events: string, stored: readonly string[]): Outcome {
  const rest = [...stored];
  return [...events].map((kind) => (kind === 's' ? '1' : rest.shift())).join();
}

/** Every answer that any call of any run got, without its numbers. */
const answers = new Set<string>();

let database: TestDatabase;
let superuser: pg.Client;
let replicas: Replica[];

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  const env = {
    EXECUTOR: 'worker',
    TASK_MAX_ATTEMPTS: String(MAX_ATTEMPTS),
    MAX_EVENTS_PER_TASK: String(MAX_EVENTS),
    LEASE_SECONDS: '3600',
    CANCEL_GRACE_SECONDS: '3600',
    DATABASE_POOL_MAX: '3',
  };
  replicas = await Promise.all([createReplica(database.appUrl, { env }), createReplica(database.appUrl, { env })]);
  // Steps are on where every live replica is seen to know them.
  await Promise.all(replicas.map((replica) => replica.get(LiveReplicas).start()));
});

afterAll(async () => {
  await Promise.all(replicas.map((replica) => replica.get(LiveReplicas).stop()));
  await Promise.all(replicas.map((replica) => replica.stop()));
  await superuser.end();
  await database.drop();
});

/** One run: its own tasks, on two replicas that take turns. */
class Real {
  readonly taskType = uniqueId('type');
  readonly auth: AuthContext = {
    subject: uniqueId('owner'),
    scopes: new Set(['tasks:read', 'tasks:write']),
    attributes: {},
  };
  #turn = 0;

  get<T>(token: abstract new (...args: never) => T): T {
    this.#turn += 1;
    return (replicas[this.#turn % 2] as Replica).get(token);
  }

  create(clientRequestId: string) {
    return this.get(SubmitTask).execute(this.auth, { clientRequestId, taskType: this.taskType });
  }

  /** As a round does four times a second: a task that is due gets its place. */
  place() {
    return this.get(QueueOrder).place();
  }

  claim(limit: number) {
    const worker = { workerId: 'w', principalId: 'worker:w' };
    return this.get(ClaimTasks).execute(worker, [this.taskType], limit, { steps: true });
  }

  append(taskId: string, leaseToken: string, batchSeq: number, kinds: string): Promise<Outcome> {
    const payloads = {
      m: { type: 'TASK_MESSAGE', payload: { message: 'm' } },
      o: { type: 'TASK_OUTPUT', payload: { channel: 'text', op: 'append', data: 'o' } },
      s: { type: 'TASK_STARTED', payload: {} },
    } as const;
    const events = [...kinds].map((kind) => payloads[kind as keyof typeof payloads]);
    const append = this.get(AppendWorkerEvents);
    return outcome(append.execute(taskId, { leaseToken, batchSeq, events }), ({ eventIds }) => eventIds.join());
  }

  finishStep(taskId: string, leaseToken: string, batchSeq: number, key: string, result: string): Promise<Outcome> {
    const call = { leaseToken, batchSeq, key, result: new JsonText(result) };
    const text = ({ eventId, result: { json } }: { eventId: string; result: JsonText }) => `${eventId} ${json}`;
    return outcome(this.get(FinishWorkerStep).execute(taskId, call), text);
  }

  end(taskId: string, ending: Ending): Promise<Outcome> {
    const text = ({ eventId, willRetry }: Ended) => `${eventId}${willRetry ? ', will retry' : ''}`;
    return outcome(this.get(EndAttempt).execute(taskId, ending, { remembered: true }), text);
  }

  heartbeat(taskId: string, leaseToken: string): Promise<Outcome> {
    return outcome(
      this.get(ExtendLease).execute({ taskId, leaseToken }),
      ({ cancellationRequested }) => `alive${cancellationRequested ? ', cancelling' : ''}`,
    );
  }

  act(taskId: string, action: { clientActionId: string; suspendId: string; actionType: string }): Promise<Outcome> {
    return outcome(this.get(SubmitAction).execute(this.auth, taskId, action), ({ status }) => status);
  }

  cancel(taskId: string): Promise<Outcome> {
    return outcome(this.get(CancelTask).execute(this.auth, taskId), ({ status }) => status);
  }

  async reap(): Promise<void> {
    // A hundred at a time; earlier runs have left some, too.
    while ((await this.get(EndLostAttempts).execute()).length > 0);
    await this.stretchBackoffs();
  }

  /** Makes backoffs long, so that a backoff is over only when the test ends it. */
  stretchBackoffs() {
    return this.set(
      "claimable_at = claimable_at + interval '1 hour' WHERE claimable_at > updated_at + interval '100 ms'",
    );
  }

  /** `SET … WHERE …` on the tasks of this run. */
  set(change: string) {
    return superuser.query(`UPDATE taskbridge.proj_tasks SET ${change} AND task_type = $1`, [this.taskType]);
  }

  async rows() {
    const sql = `SELECT task_id, status, attempt, head_event_id::int AS head, suspend_id AS open, CASE
        WHEN lease_token IS NOT NULL THEN 'leased' WHEN suspend_id IS NOT NULL THEN 'suspended'
        WHEN claimable_at IS NOT NULL THEN 'queued' ELSE 'over' END AS state, lease_token AS token
      FROM taskbridge.proj_tasks WHERE task_type = $1 ORDER BY task_id`;
    return (await superuser.query<Record<string, unknown>>(sql, [this.taskType])).rows;
  }
}

/** Its answer, or the code of its refusal with the details that a client gets. */
async function outcome<T>(call: Promise<T>, text: (answer: T) => string): Promise<Outcome> {
  const answer = await outcomeOf(call, text);
  answers.add(answer.replaceAll(/\d+(,\d+)*/g, 'n'));
  return answer;
}

async function outcomeOf<T>(call: Promise<T>, text: (answer: T) => string): Promise<Outcome> {
  try {
    return text(await call);
  } catch (error) {
    if (!(error instanceof TaskBridgeError)) throw error;
    const expected = (error.details as { expected?: number } | undefined)?.expected;
    return expected === undefined ? error.code : `${error.code} ${expected}`;
  }
}

interface Model {
  readonly tasks: TaskModel[];
}

/** The token of a call: that of the last lease, that of the one before, or an unknown one. */
type Whose = 'last' | 'earlier' | 'invented';
const tokenOf = (task: TaskModel, whose: Whose): string =>
  (whose === 'invented' ? undefined : task.tokens.at(whose === 'last' ? -1 : -2)) ?? '1.invented';

/** A command on one of the tasks there are, chosen by number. */
class OnTask implements fc.AsyncCommand<Model, Real> {
  constructor(
    readonly name: string,
    readonly task: number,
    readonly details: object,
    private readonly play: (task: TaskModel, real: Real) => Promise<void>,
  ) {}

  check = ({ tasks }: Readonly<Model>) => tasks.length > 0;

  async run(model: Model, real: Real): Promise<void> {
    await this.play(model.tasks[this.task % model.tasks.length] as TaskModel, real);
    await agree(model, real);
  }

  toString = () => `${this.name} #${this.task} ${JSON.stringify(this.details)}`;
}

/** A command on all of them, or none. */
class OnAll implements fc.AsyncCommand<Model, Real> {
  constructor(
    readonly name: string,
    private readonly play: (model: Model, real: Real) => Promise<void>,
  ) {}

  check = () => true;

  async run(model: Model, real: Real): Promise<void> {
    await this.play(model, real);
    await agree(model, real);
  }

  toString = () => this.name;
}

async function agree({ tasks }: Model, real: Real): Promise<void> {
  const expected = tasks
    .map(({ taskId, status, attempt, head, open, state, token }) => ({
      task_id: taskId,
      status,
      attempt,
      head,
      open: open ?? null,
      state,
      token: token ?? null,
    }))
    .sort((a, b) => (a.task_id < b.task_id ? -1 : 1));
  expect(await real.rows()).toEqual(expected);
}

const whose = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Whose>('last') },
  { weight: 1, arbitrary: fc.constantFrom<Whose>('earlier', 'invented') },
);
const task = fc.nat(MAX_TASKS - 1);

/** A command on a task with details of its own. */
function onTask<Details extends object>(
  name: string,
  details: fc.Arbitrary<Details>,
  play: (task: TaskModel, real: Real, details: Details) => Promise<void>,
): fc.Arbitrary<OnTask> {
  return fc.tuple(task, details).map(([n, given]) => new OnTask(name, n, given, (on, real) => play(on, real, given)));
}

/** A call that ends an attempt, under the token of the given holder. */
function ending<Details extends { readonly whose: Whose }>(
  name: string,
  details: fc.Arbitrary<Details>,
  model: (task: TaskModel, token: string, details: Details) => Outcome,
  real: (token: string, details: Details) => Ending,
): fc.Arbitrary<OnTask> {
  return onTask(name, details, async (on, service, given) => {
    const token = tokenOf(on, given.whose);
    expect(await service.end(on.taskId, real(token, given))).toBe(model(on, token, given));
    await service.stretchBackoffs();
  });
}

const often = <T>(times: number, command: T): T[] => Array<T>(times).fill(command);
const all = (name: string, play: (model: Model, real: Real) => Promise<void>) => fc.constant(new OnAll(name, play));

const COMMANDS: fc.Arbitrary<fc.AsyncCommand<Model, Real>>[] = [
  ...often(
    4,
    all('create', async ({ tasks }, real) => {
      if (tasks.length === MAX_TASKS) return;
      const clientRequestId = `request-${tasks.length}`;
      const first = await real.create(clientRequestId);
      expect(await real.create(clientRequestId)).toMatchObject({ taskId: first.taskId, deduplicated: true });
      tasks.push(new TaskModel(first.taskId));
    }),
  ),
  ...[1, 50, 50, 50, 50, 50].map((limit) =>
    all(`claim ${limit}`, async ({ tasks }, real) => {
      const claimable = tasks.filter((on) => on.claimable);
      const leases = await real.claim(limit);
      expect(leases).toHaveLength(Math.min(limit, claimable.length));
      for (const { identity, token, attempt, headEventId, answers, steps } of leases) {
        const on = claimable.find(({ taskId }) => taskId === identity.taskId);
        expect(on?.claimable).toBe(true);
        on?.claim(token);
        expect({ attempt, headEventId }).toEqual({ attempt: on?.attempt, headEventId: on?.head });
        expect(steps?.map(({ key, result }) => [key, result.json])).toEqual(
          [...(on?.steps ?? [])].map(([key, { result }]) => [key, result]),
        );
        expect(
          answers
            .map(({ json }) => JSON.parse(json) as Answer)
            .map((answer) => `${answer.suspendId} ${answer.actionType}`),
        ).toEqual([...(on?.receipts.values() ?? [])]);
      }
    }),
  ),
  ...often(
    3,
    onTask(
      'append',
      fc.record({
        whose,
        seqOffset: fc.constantFrom(0, 0, 0, 0, -1, 1),
        events: fc.string({ unit: fc.constantFrom('m', 'o', 'o', 's'), minLength: 1, maxLength: 4 }),
      }),
      async (on, real, { whose: by, seqOffset, events }) => {
        const token = tokenOf(on, by);
        const seq = Math.max(1, on.nextSeq + seqOffset);
        expect(await real.append(on.taskId, token, seq, events)).toBe(on.append(token, seq, events));
      },
    ),
  ),
  ...often(
    3,
    onTask(
      'finish step',
      fc.record({
        whose,
        seqOffset: fc.constantFrom(0, 0, 0, 0, -1, 1),
        key: fc.constantFrom('a', 'b', 'c#1'),
        result: fc.constantFrom('1', '{"b":[2]}'),
      }),
      async (on, real, { whose: by, seqOffset, key, result }) => {
        const token = tokenOf(on, by);
        const seq = Math.max(1, on.nextSeq + seqOffset);
        expect(await real.finishStep(on.taskId, token, seq, key, result)).toBe(on.finishStep(token, seq, key, result));
      },
    ),
  ),
  onTask('heartbeat', fc.record({ whose }), async (on, real, { whose: by }) => {
    const token = tokenOf(on, by);
    expect(await real.heartbeat(on.taskId, token)).toBe(on.heartbeat(token));
  }),
  ...often(
    6,
    ending(
      'suspend',
      fc.record({ whose, suspendId: fc.constantFrom('q1', 'q2', 'q3', 'q4'), limited: fc.boolean() }),
      (on, token, { suspendId, limited }) => on.suspend(token, suspendId, limited),
      (token, { suspendId, limited }) => ({
        kind: 'suspend',
        token,
        question: {
          suspendId,
          kind: 'USER_ACTION_REQUIRED',
          reasonCode: 'HM',
          allowedActions: ALLOWED,
          schemaVersion: 1,
          ...(limited && { expiresAt: '2999-01-01T00:00:00Z' }),
        },
      }),
    ),
  ),
  ...often(
    8,
    onTask(
      'act',
      fc.record({
        // Now and then the one that was accepted last, just as it was.
        again: fc.constantFrom(false, false, false, true),
        clientActionId: fc.constantFrom('a1', 'a2', 'a3', 'a4', 'a5', 'a6'),
        question: fc.constantFrom('open', 'open', 'open', 'open', 'open', 'q1', 'q2', 'never'),
        actionType: fc.constantFrom('yes', 'yes', 'no', 'maybe'),
      }),
      async (on, real, { again, question, ...given }) => {
        const [id, content] = (again ? [...on.receipts].at(-1) : undefined) ?? [];
        const [suspendId = '', actionType = given.actionType] = content?.split(' ') ?? [
          question === 'open' ? (on.open ?? 'q1') : question,
        ];
        const clientActionId = id ?? given.clientActionId;
        const answer = await real.act(on.taskId, { clientActionId, suspendId, actionType });
        expect(answer).toBe(on.act(clientActionId, suspendId, actionType));
      },
    ),
  ),
  ending(
    'complete',
    fc.record({ whose }),
    (on, token) => on.complete(token),
    (token) => ({ kind: 'complete', token, result: 'done' }),
  ),
  ending(
    'fail',
    fc.record({ whose, retryable: fc.constantFrom(true, true, true, false) }),
    (on, token, { retryable }) => on.fail(token, retryable),
    (token, { retryable }) => ({ kind: 'fail', token, code: 'BROKEN', message: 'It broke.', retryable }),
  ),
  ending(
    'release',
    fc.record({ whose }),
    (on, token) => on.release(token),
    (token) => ({ kind: 'release', token }),
  ),
  ending(
    'confirm',
    fc.record({ whose }),
    (on, token) => on.confirm(token),
    (token) => ({ kind: 'confirm_cancellation', token }),
  ),
  onTask('cancel', fc.constant({}), async (on, real) => {
    expect(await real.cancel(on.taskId)).toBe(on.cancel());
  }),
  all('all leases expire', async ({ tasks }, real) => {
    await real.set("lease_expires_at = now() - interval '1 s' WHERE lease_token IS NOT NULL");
    for (const on of tasks) on.leaseExpired = true;
  }),
  all('all questions expire', async ({ tasks }, real) => {
    await superuser.query(
      `UPDATE taskbridge.proj_suspensions s SET expires_at = now() - interval '1 s' FROM taskbridge.proj_tasks t
       WHERE s.task_id = t.task_id AND t.task_type = $1 AND s.expires_at IS NOT NULL AND s.state = 'open'`,
      [real.taskType],
    );
    await real.set("suspend_expires_at = now() - interval '1 s' WHERE suspend_expires_at IS NOT NULL");
    for (const { questions } of tasks) {
      for (const question of questions.values()) question.expired ||= question.state === 'open' && question.limited;
    }
  }),
  all('grace periods are over', async ({ tasks }, real) => {
    await real.set("cancel_requested_at = now() - interval '2 hours' WHERE cancel_requested_at IS NOT NULL");
    for (const on of tasks) on.graceOver ||= on.cancelling;
  }),
  all('backoffs are over', async ({ tasks }, real) => {
    await real.set('claimable_at = updated_at WHERE claimable_at IS NOT NULL');
    await real.place();
    for (const on of tasks) on.backingOff = false;
  }),
  ...often(
    2,
    all('reap', async ({ tasks }, real) => {
      await real.reap();
      for (const on of tasks) on.reap();
    }),
  ),
];

describe('Tasks on PostgreSQL', () => {
  it('do what tasks in memory do, whatever is done to them', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.commands(COMMANDS, { maxCommands: 60, size: 'max' }), async (commands) => {
        const real = new Real();
        const model: Model = { tasks: [] };
        await fc.asyncModelRun(() => ({ model, real }), commands);
        for (const on of model.tasks) {
          const log = (await storedEnvelopes(database.superuserUrl, on.taskId)).map((raw) => {
            const { type, payload } = JSON.parse(raw) as { type: string; payload: Record<string, unknown> };
            if (type === 'TASK_RESUMED') return `${type} ${String(payload['supersedesAfterEventId'])}`;
            if (type !== 'TASK_RETRYING') return type;
            return [type, payload['attempt'], payload['supersedesAfterEventId']].map(String).join(' ');
          });
          expect(log).toEqual(on.log);
          for (const type of on.log) seen.add(type.split(' ')[0] as string);
        }
      }),
      { numRuns: full ? 1_000 : 60 },
    );
    await checkInvariants(database.superuserUrl);
    if (!full) return;
    // Many commands lead everywhere, or their agreement says little.
    expect([...answers].sort()).toEqual([
      'ACCEPTED',
      'ACTION_NOT_ALLOWED',
      'ALREADY_TERMINAL',
      'BATCH_OUT_OF_ORDER n',
      'CANCELLATION_REQUESTED',
      'DEDUPLICATED',
      'IDEMPOTENCY_CONFLICT',
      'INVALID_TASK_STATE',
      'LEASE_LOST',
      'NOT_FOUND',
      'REJECTED_ALREADY_RESOLVED',
      'REJECTED_EXPIRED',
      'TASK_ALREADY_TERMINAL',
      'alive',
      'alive, cancelling',
      'n',
      'n n',
      'n {"b":[n]}',
      'n, will retry',
    ]);
    expect([...seen].sort()).toEqual([
      'TASK_ACTION_ACCEPTED',
      'TASK_CANCELLED',
      'TASK_COMPLETED',
      'TASK_FAILED',
      'TASK_MESSAGE',
      'TASK_OUTPUT',
      'TASK_RESUMED',
      'TASK_RETRYING',
      'TASK_STARTED',
      'TASK_STEP',
      'TASK_SUSPENDED',
    ]);
  }, 600_000);
});
