import { randomUUID } from 'node:crypto';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { type JsonSchema, problemIn } from '#protocol/json-schema.js';
import { storedJson } from '#protocol/exact-json.js';
import { type Json, MemoryTask, type StoredFile } from './memory-task.js';
import { textsOf } from '../support/texts.js';
import { invalidMembers, Refusal } from './refusal.js';

export interface Submission {
  readonly clientRequestId: string;
  readonly taskType: string;
  readonly input: Json;
  readonly metadata: Json;
  readonly files: readonly StoredFile[];
  readonly delaySeconds: number;
  readonly deadline: string | undefined;
}

export interface Action {
  readonly clientActionId: string;
  readonly suspendId: string;
  readonly actionType: string;
  readonly payload?: Json;
  readonly metadata?: Json;
}

export interface WorkerEvent {
  readonly type: string;
  readonly payload: Json;
  readonly eventKey?: string;
}

/** What a claim may say besides its types. */
export interface Claim {
  readonly workerId: string;
  readonly steps: boolean;
  readonly leaseSeconds: number | undefined;
}

export interface Numbers {
  readonly leaseMs: number;
  readonly maxAttempts: number;
}

const RETRY_MS = 50;
const MAX_SHOWN = 256 * 1024;
const MAX_PAYLOAD_BYTES = 64 * 1024;
/** The bytes of the payload that carries a result. */
const MAX_RESULT_BYTES = 2 ** 20 - 256;

/** The operations on tasks, and their rules. A mutant may replace every method. */
export class MemoryTasks {
  readonly all: MemoryTask[] = [];
  /** Schedules by their owner and name. They never come. */
  readonly schedules = new Map<string, Json>();
  /** What workers registered, by type. */
  readonly policies = new Map<string, Json>();
  readonly bulks = new Map<string, Json>();
  readonly bulkRequests = new Map<string, { readonly bulkId: string; readonly request: string }>();
  /** Claims that wait for a task. */
  readonly claims = new Set<() => void>();

  /**
   * The clock of the leases, in milliseconds. It advances only while this process runs, so a lease does not expire while a busy
   * machine prevents its renewal.
   */
  now = Date.now();

  constructor(readonly numbers: Numbers) {}

  create(owner: string, submission: Submission): { task: MemoryTask; isNew: boolean } {
    const { clientRequestId, taskType, input, metadata, files } = submission;
    const fingerprint = this.fingerprint(submission);
    const earlier = this.earlier(owner, clientRequestId);
    if (earlier) {
      if (earlier.fingerprint !== fingerprint) throw new Refusal(409, 'IDEMPOTENCY_CONFLICT');
      return { task: earlier, isNew: false };
    }
    const task = new MemoryTask(owner, clientRequestId, taskType, input, metadata, files, fingerprint);
    this.all.push(task);
    task.isHeld = () => !this.hasRoom(task);
    if (submission.deadline !== undefined) this.expireAt(task, submission.deadline);
    this.begin(task, submission.delaySeconds);
    return { task, isNew: true };
  }

  runAgain(
    source: MemoryTask,
    { clientRequestId, input, keepSteps }: { clientRequestId: string; input: Json | undefined; keepSteps: boolean },
  ): { task: MemoryTask; isNew: boolean } {
    const { owner, taskId, taskType, metadata, files } = source;
    const fingerprint = canonical({ rerunOf: taskId, keepSteps, ...(input && { input }) });
    const earlier = this.earlier(owner, clientRequestId);
    if (earlier && earlier.fingerprint !== fingerprint) throw new Refusal(409, 'IDEMPOTENCY_CONFLICT');
    if (earlier) return { task: earlier, isNew: false };
    this.checkOver(source);
    const task = new MemoryTask(owner, clientRequestId, taskType, input ?? source.input, metadata, files, fingerprint);
    task.rerunOf = taskId;
    source.revision += 1;
    this.all.push(task);
    if (keepSteps) this.keepSteps(task, source);
    this.wake();
    return { task, isNew: true };
  }

  checkOver({ isOver }: MemoryTask): void {
    if (!isOver) throw new Refusal(409, 'TASK_NOT_TERMINAL');
  }

  keepSteps(task: MemoryTask, { steps }: MemoryTask): void {
    if (steps.size === 0) return;
    task.attempt = 1;
    this.store(task, 'TASK_STARTED', {});
    for (const [key, { result }] of steps) this.storeStep(task, key, result);
    task.attempt = 0;
  }

  cancellable(owner: string, taskType: unknown): readonly string[] {
    const open = this.all.filter((task) => task.owner === owner && !task.isOver);
    return open.filter((task) => taskType === undefined || task.taskType === taskType).map(({ taskId }) => taskId);
  }

  rerunsOf({ taskId }: MemoryTask): Json {
    const reruns = this.all.filter(({ rerunOf }) => rerunOf === taskId).map((task) => task.taskId);
    return reruns.length > 0 ? { reruns: reruns.reverse() } : {};
  }

  begin(task: MemoryTask, delaySeconds: number): void {
    task.run = { state: 'waiting', from: Date.now() + delaySeconds * 1_000, resumes: false };
    setTimeout(() => this.wake(), delaySeconds * 1_000).unref();
    if (delaySeconds === 0) this.wake();
  }

  expireAt(task: MemoryTask, deadline: string): void {
    const expire = () => {
      const failure = { code: 'EXPIRED', message: 'Its deadline has passed.', retryable: true };
      if (!task.isOver) this.store(task, 'TASK_FAILED', failure);
    };
    setTimeout(expire, Date.parse(deadline) - Date.now()).unref();
  }

  /** `taken`: tasks of the same claim. */
  hasRoom({ taskType }: MemoryTask, taken: readonly MemoryTask[] = []): boolean {
    const most = Number(this.policies.get(taskType)?.['maxRunning'] ?? Number.POSITIVE_INFINITY);
    const running = this.all.filter((task) => task.taskType === taskType && task.run.state === 'leased');
    return running.length + taken.filter((task) => task.taskType === taskType).length < most;
  }

  /** @throws Refusal */
  checkInput({ taskType, input }: Pick<Submission, 'taskType' | 'input'>): void {
    const problem = problemIn((this.policies.get(taskType)?.['inputSchema'] ?? {}) as JsonSchema, input);
    if (problem) throw invalidMembers(`input.${problem.path}`);
  }

  fingerprint({ taskType, input, files }: Submission): string {
    const names = files.map(({ filename, contentType, sha256 }) => ({ filename, contentType, sha256 }));
    return canonical({ taskType, input, names });
  }

  earlier(owner: string, clientRequestId: string): MemoryTask | undefined {
    return this.all.find((task) => task.owner === owner && task.clientRequestId === clientRequestId);
  }

  /** @throws Refusal, for a foreign task the same as for none */
  owned(owner: string, taskId: string): MemoryTask {
    const task = this.all.find((one) => one.taskId === taskId.toLowerCase());
    if (task?.owner !== owner) throw new Refusal(404, 'TASK_NOT_FOUND');
    return task;
  }

  claim(taskTypes: readonly string[], maxTasks: number, { workerId, steps: knowsSteps, leaseSeconds }: Claim): Json[] {
    const now = Date.now();
    const waiting = this.all.filter(
      (task) =>
        taskTypes.includes(task.taskType) &&
        task.run.state === 'waiting' &&
        task.run.from <= now &&
        this.suits(task, knowsSteps),
    );
    const taken: MemoryTask[] = [];
    for (const task of waiting) if (taken.length < maxTasks && this.hasRoom(task, taken)) taken.push(task);
    return taken.map((task) => {
      task.workerId = workerId;
      task.leaseMs = leaseSeconds === undefined ? this.numbers.leaseMs : leaseSeconds * 1_000;
      return {
        ...this.lease(task),
        ...(knowsSteps && { steps: [...task.steps].map(([key, { result }]) => ({ key, result })) }),
      };
    });
  }

  /** A worker that does not know steps would do finished ones again. */
  suits(task: MemoryTask, knowsSteps: boolean): boolean {
    return knowsSteps || task.steps.size === 0;
  }

  lease(task: MemoryTask): Json {
    const resumes = task.run.state === 'waiting' && task.run.resumes;
    const token = this.newToken(task);
    this.extend(task, token);
    task.batchSeq = 0;
    if (!resumes) task.attempt += 1;
    if (!resumes) task.keys.clear();
    task.revision += 1;
    if (task.head === 0) this.store(task, 'TASK_STARTED', {});
    if (!resumes && task.steps.size === 0) task.attemptBase = task.head;
    const { taskId, attempt, taskType, clientRequestId, input, metadata, owner, answers } = task;
    return {
      ...{ taskId, attempt, leaseToken: token, leaseExpiresAt: this.expiry(task), taskType, clientRequestId },
      ...{ input, metadata, ownerId: owner, headEventId: String(task.head), traceparent: null },
      attachments: task.files.map(({ bytes: _, ...file }) => ({
        ...file,
        url: `/api/v1/tasks/${taskId}/attachments/${file.attachmentId}`,
      })),
      cancellationRequested: task.cancelReason !== undefined,
      ...(answers.length > 0 && { resume: answers.at(-1) }),
      answers: [...answers],
    };
  }

  newToken(_task: MemoryTask): string {
    return randomUUID();
  }

  expiry({ run }: MemoryTask): string {
    return new Date(run.state === 'leased' ? run.expiresAt : 0).toISOString();
  }

  /** The task that this token holds. @throws Refusal */
  held(taskId: string, token: unknown): MemoryTask {
    const task = this.all.find((one) => one.taskId === taskId);
    if (task?.run.state !== 'leased' || task.run.token !== token || task.run.expiresAt < this.now) {
      throw new Refusal(409, 'LEASE_LOST');
    }
    this.extend(task, task.run.token);
    return task;
  }

  extend(task: MemoryTask, token: string): void {
    task.run = { state: 'leased', token, expiresAt: this.now + task.leaseMs };
  }

  append(taskId: string, token: unknown, batchSeq: number, events: readonly WorkerEvent[]): readonly string[] {
    const checked = events.map((event, index) => this.checked(event, index));
    const task = this.held(taskId, token);
    const batch = JSON.stringify(events);
    if (batchSeq === task.batchSeq) return this.repeatedBatch(task, batch);
    this.checkOrder(task, batchSeq);
    for (const { type, payload } of checked) if (type === 'TASK_STEP') this.checkVoid(task, payload);
    task.batchSeq = batchSeq;
    task.batch = batch;
    task.batchIds = this.storeBatch(task, checked);
    return task.batchIds;
  }

  /** Each event once by its key. */
  appendKeyed(taskId: string, token: unknown, events: readonly WorkerEvent[]): readonly string[] {
    const checked = events.map((event, index) => this.checked(event, index));
    const task = this.held(taskId, token);
    return checked.map(({ type, payload, eventKey = '' }) => {
      const id = this.keyed(task, eventKey) ?? this.store(task, type, withAttempt(task, type, payload));
      task.keys.set(eventKey, id);
      return id;
    });
  }

  /** The event that a key names. */
  keyed(task: MemoryTask, key: string): string | undefined {
    const id = task.keys.get(key);
    return id === undefined || this.isVoid(task, id) ? undefined : id;
  }

  isVoid({ log }: MemoryTask, id: string): boolean {
    if (!/^{"type":"TASK_(OUTPUT|PROGRESS)"/.test(log[Number(id) - 1] ?? '')) return false;
    const voids = log.slice(Number(id)).map((raw) => /"supersedesAfterEventId":"(\d+)"/.exec(raw)?.[1]);
    return voids.some((since) => since !== undefined && Number(since) < Number(id));
  }

  cancelledOf(workerId: string, known: readonly string[]): Json[] {
    return this.all
      .filter((task) => task.workerId === workerId && task.run.state === 'leased' && !known.includes(task.taskId))
      .filter(({ cancelReason }) => cancelReason !== undefined)
      .map(({ taskId, attempt, cancelReason }) => ({ type: 'cancel', taskId, attempt, cancelReason }));
  }

  checkOrder(task: MemoryTask, batchSeq: number): void {
    const expected = task.batchSeq + 1;
    if (batchSeq !== expected) throw new Refusal(409, 'BATCH_OUT_OF_ORDER', { expected });
  }

  /** A new try of a step voids nothing that a finished step made valid. */
  checkVoid({ attemptBase, head }: MemoryTask, { supersedesAfterEventId }: Json): void {
    const since = Number(supersedesAfterEventId);
    if (!(since >= attemptBase && since <= head)) throw invalidMembers('supersedesAfterEventId');
  }

  finishStep(taskId: string, { leaseToken, batchSeq, key, result }: Json): Json {
    const task = this.held(taskId, leaseToken);
    if (batchSeq !== task.batchSeq) this.checkOrder(task, Number(batchSeq));
    task.batchSeq = Number(batchSeq);
    task.batch = '';
    return this.storeStep(task, String(key), result);
  }

  /** Once: the first result stays. */
  storeStep(task: MemoryTask, key: string, result: unknown): Json {
    const stored = task.steps.get(key);
    if (stored) return { ...stored };
    const eventId = this.store(task, 'TASK_STEP', { key, state: 'completed', attempt: task.attempt });
    task.attemptBase = task.head;
    task.steps.set(key, { result, eventId });
    return { eventId, result };
  }

  repeatedBatch(task: MemoryTask, batch: string): readonly string[] {
    if (batch !== task.batch) throw new Refusal(409, 'IDEMPOTENCY_CONFLICT');
    return task.batchIds;
  }

  /** Adjacent output to one channel is one event. */
  storeBatch(task: MemoryTask, events: readonly WorkerEvent[]): readonly string[] {
    const ids: string[] = [];
    for (let at = 0; at < events.length; ) {
      const { type, payload } = events[at] as WorkerEvent;
      if (type === 'TASK_STARTED') {
        ids.push('1');
        at += 1;
        continue;
      }
      let end = at + 1;
      let stored = payload;
      while (joins(events[end - 1], events[end])) {
        stored = { ...stored, data: `${String(stored['data'])}${String(events[end]?.payload['data'])}` };
        end += 1;
      }
      const id = this.store(task, type, withAttempt(task, type, stored));
      for (; at < end; at += 1) ids.push(id);
    }
    return ids;
  }

  checked(event: WorkerEvent, index: number): WorkerEvent {
    const { type, payload } = event;
    const within = (name: string) => invalidMembers(`events[${index}].payload.${name}`);
    if (!['TASK_STARTED', 'TASK_PROGRESS', 'TASK_MESSAGE', 'TASK_OUTPUT', 'TASK_STEP'].includes(type)) {
      throw invalidMembers(`events[${index}].type`);
    }
    const { progress } = payload;
    if (type === 'TASK_PROGRESS' && !(typeof progress === 'number' && progress >= 0 && progress <= 100)) {
      throw within('progress');
    }
    if (type === 'TASK_STEP' && payload['state'] !== 'retrying') throw within('state');
    if (type === 'TASK_MESSAGE' && typeof payload['message'] !== 'string') throw within('message');
    if (Buffer.byteLength(JSON.stringify(payload)) > MAX_PAYLOAD_BYTES) throw new Refusal(413, 'PAYLOAD_TOO_LARGE');
    return event;
  }

  /** Ends a lease by one of the calls that do. */
  end(taskId: string, call: string, body: Json): Json {
    const token = body['leaseToken'];
    const ended = this.all.find((one) => one.taskId === taskId)?.endings.get(String(token));
    if (ended?.call === JSON.stringify([call, body])) return ended.answer;
    const task = this.held(taskId, token);
    const answer = this.ending(task, call, body);
    task.endings.set(String(token), { call: JSON.stringify([call, body]), answer });
    this.wake();
    return answer;
  }

  ending(task: MemoryTask, call: string, body: Json): Json {
    switch (call) {
      case 'complete': {
        if (Buffer.byteLength(storedJson({ result: body['result'] ?? null })) > MAX_RESULT_BYTES) {
          throw new Refusal(413, 'PAYLOAD_TOO_LARGE');
        }
        return { eventId: this.store(task, 'TASK_COMPLETED', { result: body['result'] ?? null }) };
      }
      case 'cancelled':
        return { eventId: this.cancelled(task) };
      case 'release':
        if (task.cancelReason !== undefined) return { eventId: this.cancelled(task) };
        return { eventId: this.retry(task, 'released', 0) };
      case 'suspend':
        return this.suspend(task, body);
      default:
        return this.fail(task, body);
    }
  }

  /** Stores an event and calls all followers. Returns its id. */
  store(task: MemoryTask, type: string, payload: Json): string {
    task.log.push(task.envelope(type, payload));
    task.evolve(type, payload);
    task.tell();
    return String(task.head);
  }

  cancelled(task: MemoryTask): string {
    return this.store(task, 'TASK_CANCELLED', { reason: task.cancelReason ?? 'cancelled_by_worker' });
  }

  fail(task: MemoryTask, { code, message, retryable, retryAfterMs }: Json): Json {
    const failed = () => ({ eventId: this.store(task, 'TASK_FAILED', { code, message, retryable }), willRetry: false });
    if (retryable !== true) return failed();
    if (task.cancelReason !== undefined) return { eventId: this.cancelled(task), willRetry: false };
    task.spentAttempts += 1;
    if (task.spentAttempts >= this.numbers.maxAttempts) return failed();
    return { eventId: this.retry(task, String(code), Number(retryAfterMs ?? RETRY_MS)), willRetry: true };
  }

  retry(task: MemoryTask, reason: string, afterMs: number): string {
    task.run = { state: 'waiting', from: Date.now() + afterMs, resumes: false };
    const supersedesAfterEventId = String(task.attemptBase);
    const notBefore = new Date(Date.now() + afterMs).toISOString();
    return this.store(task, 'TASK_RETRYING', { attempt: task.attempt + 1, reason, supersedesAfterEventId, notBefore });
  }

  suspend(task: MemoryTask, { leaseToken: _, suspendId, schemaVersion = 1, ...asked }: Json): Json {
    if (task.questions.has(String(suspendId))) throw new Refusal(409, 'INVALID_TASK_STATE');
    const payload = { suspendId, schemaVersion, ...asked };
    task.questions.set(String(suspendId), { payload, fate: 'open' });
    task.run = { state: 'suspended' };
    return { suspendId, eventId: this.store(task, 'TASK_SUSPENDED', payload) };
  }

  cancel(task: MemoryTask, reason: string): string {
    if (task.isOver) return 'ALREADY_TERMINAL';
    task.cancelReason ??= reason;
    task.revision += 1;
    this.wake();
    if (task.run.state !== 'leased') this.cancelled(task);
    return 'CANCELLATION_REQUESTED';
  }

  act(task: MemoryTask, action: Action, actorId: string): string {
    const { clientActionId, suspendId, actionType, payload = {} } = action;
    const content = canonical({ suspendId, actionType, payload });
    const receipt = task.receipts.get(clientActionId);
    if (receipt !== undefined) {
      if (receipt !== content) throw new Refusal(409, 'IDEMPOTENCY_CONFLICT');
      return 'DEDUPLICATED';
    }
    const status = this.judge(task, action);
    if (status !== 'ACCEPTED') return status;
    const question = task.questions.get(suspendId);
    this.checkSchema(question?.payload ?? {}, actionType, payload);
    if (question) question.fate = 'answered';
    task.receipts.set(clientActionId, content);
    task.answers.push({ suspendId, clientActionId, actionType, payload, actorId });
    task.run = { state: 'waiting', from: 0, resumes: true };
    const acceptedAt = new Date().toISOString();
    const isVoid = this.isPutOutAgain(task);
    this.store(task, 'TASK_ACTION_ACCEPTED', { suspendId, clientActionId, actionType, acceptedAt });
    if (isVoid) this.store(task, 'TASK_RESUMED', { supersedesAfterEventId: String(task.attemptBase) });
    this.wake();
    return status;
  }

  checkSchema({ actionSchemas = {} }: Json, actionType: string, payload: Json): void {
    const schema = (actionSchemas as Readonly<Record<string, object>>)[actionType];
    if (schema && !new Ajv2020({ strict: false }).validate(schema, payload)) throw invalidMembers('payload');
  }

  questionsOf({ questions, answers }: MemoryTask): Json {
    const shown = [...questions].map(([suspendId, { fate }]) => {
      const answer = answers.find((one) => one['suspendId'] === suspendId);
      return { suspendId, state: fate, ...(answer && this.answerOf(answer)) };
    });
    return shown.length > 0 ? { questions: shown } : {};
  }

  answerOf({ clientActionId, actorId }: Json): Json {
    return { answeredBy: actorId, clientActionId };
  }

  isPutOutAgain({ log, attemptBase }: MemoryTask): boolean {
    return log.slice(attemptBase).some((raw) => /^{"type":"TASK_(OUTPUT|PROGRESS)"/.test(raw));
  }

  /** What a snapshot with output has besides. */
  outputSoFar(task: MemoryTask): Json {
    const head = this.textsAt(task, task.head);
    const settled = this.textsAt(task, task.attemptBase);
    const output = Object.entries(head).map(([channel, data]) => {
      const [shown, base] = [this.shownOf(data), this.shownOf(settled[channel] ?? '')];
      const truncated = shown !== data || base !== (settled[channel] ?? '');
      return [channel, { data: shown, settled: base, truncated }] as const;
    });
    return {
      output: Object.fromEntries(output),
      settledEventId: String(task.attemptBase),
      outputAfterEventId: '0',
    };
  }

  textsAt({ log }: MemoryTask, head: number): Readonly<Record<string, string>> {
    return textsOf(log.slice(0, head).map((raw) => JSON.parse(raw) as { type: string; payload: Json }));
  }

  /** The end of a long text. Half of the room is for each of the two texts. */
  shownOf(text: string): string {
    return text.slice(-MAX_SHOWN);
  }

  snapshotFrame(task: MemoryTask): Json {
    return { type: 'TASK_SNAPSHOT', ...task.summary(this.numbers.maxAttempts), ...this.outputSoFar(task) };
  }

  judge(task: MemoryTask, { suspendId, actionType }: Action): string {
    const question = task.questions.get(suspendId);
    if (!question) throw new Refusal(404, 'NOT_FOUND');
    if (question.fate === 'answered') return 'REJECTED_ALREADY_RESOLVED';
    if (question.fate === 'expired' || (!task.isOver && isExpired(question.payload))) return 'REJECTED_EXPIRED';
    if (task.isOver) throw new Refusal(409, 'TASK_ALREADY_TERMINAL');
    const allowedActions = question.payload['allowedActions'] as readonly string[];
    if (!allowedActions.includes(actionType)) throw new Refusal(409, 'ACTION_NOT_ALLOWED', { allowedActions });
    return 'ACCEPTED';
  }

  /** Advances the clock, and ends expired leases and questions. */
  reap(passedMs: number): void {
    this.now += passedMs;
    for (const task of this.all) {
      const { run } = task;
      if (run.state === 'leased' && run.expiresAt < this.now) {
        task.spentAttempts += 1;
        if (task.spentAttempts < this.numbers.maxAttempts) this.retry(task, 'lease_expired', RETRY_MS);
        else this.store(task, 'TASK_FAILED', { code: 'STALLED', message: 'Every attempt was lost.', retryable: true });
      }
      if (run.state === 'suspended' && task.openSuspension && isExpired(task.openSuspension)) {
        const question = task.questions.get(String(task.openSuspension['suspendId']));
        if (question) question.fate = 'expired';
        this.store(task, 'TASK_FAILED', { code: 'SUSPENSION_EXPIRED', message: 'Nobody answered.', retryable: true });
      }
    }
    this.wake();
  }

  wake(): void {
    for (const claim of [...this.claims]) claim();
  }
}

function withAttempt({ attempt }: MemoryTask, type: string, payload: Json): Json {
  return type === 'TASK_OUTPUT' || type === 'TASK_STEP' ? { ...payload, attempt } : payload;
}

function isExpired({ expiresAt }: Json): boolean {
  return typeof expiresAt === 'string' && Date.parse(expiresAt) <= Date.now();
}

function joins(one: WorkerEvent | undefined, next: WorkerEvent | undefined): boolean {
  const isAppend = (event: WorkerEvent | undefined) =>
    event?.type === 'TASK_OUTPUT' && event.payload['op'] === 'append' ? event.payload['channel'] : undefined;
  return isAppend(one) !== undefined && isAppend(one) === isAppend(next);
}

/** Equal for equal values, whatever the order of members. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}
