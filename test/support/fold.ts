import pg from 'pg';

// The guarantees about a database, checked by its rows alone. Written without a look at `decide` and `evolve`: a checker that
// shares code with what it checks finds nothing.

interface EventRow {
  readonly task_id: string;
  readonly event_id: string;
  readonly type: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly attempt: number | null;
  readonly lease_number: number | null;
  readonly batch_seq: number | null;
}

interface QuestionRow {
  readonly task_id: string;
  readonly suspend_id: string;
  readonly state: string;
}

interface ReceiptRow {
  readonly task_id: string;
  readonly client_action_id: string;
  readonly suspend_id: string;
}

interface Rows {
  readonly tasks: readonly TaskRow[];
  readonly events: readonly EventRow[];
  readonly questions: readonly QuestionRow[];
  readonly receipts: readonly ReceiptRow[];
  readonly steps: readonly StepRow[];
}

interface StepRow {
  readonly task_id: string;
  readonly step_key: string;
  readonly event_id: string;
  readonly attempt: number;
}

interface TaskRow {
  readonly task_id: string;
  readonly tenant_id: string;
  readonly owner_id: string;
  readonly client_request_id: string;
  readonly status: string;
  readonly head_event_id: string;
  readonly queued: boolean;
  readonly leased: boolean;
  readonly leased_alive: boolean;
  readonly suspend_id: string | null;
  readonly aside: boolean;
}

export interface InvariantOptions {
  /** Faults stopped long enough ago that no task may be in limbo (I9). Defaults to false. */
  readonly quiescent?: boolean;
}

/** Statuses by the terminal event; a task with any other event is RUNNING, one without events ACCEPTED. */
const TERMINAL_STATUS: Readonly<Record<string, string>> = {
  TASK_COMPLETED: 'COMPLETED',
  TASK_FAILED: 'FAILED',
  TASK_CANCELLED: 'CANCELLED',
};

/** Events that only the holder of a lease can have stored. */
const APPENDED: ReadonlySet<string> = new Set(['TASK_PROGRESS', 'TASK_MESSAGE', 'TASK_OUTPUT', 'TASK_STEP']);

/** Fails with one line for each violation of I1, I2, I5 to I8 as far as rows show it, and after quiescence I9. */
export async function checkInvariants(superuserUrl: string, options: InvariantOptions = {}): Promise<void> {
  const violations = await findViolations(superuserUrl, options);
  if (violations.length > 0) throw new Error(`${violations.length} violation(s):\n${violations.join('\n')}`);
}

export async function findViolations(superuserUrl: string, options: InvariantOptions = {}): Promise<string[]> {
  const { tasks, events, questions, receipts, steps } = await readAll(superuserUrl);
  const finished = Map.groupBy(steps, ({ task_id }) => task_id);
  const logs = Map.groupBy(events, ({ task_id }) => task_id);
  const asked = Map.groupBy(questions, ({ task_id }) => task_id);
  const answered = Map.groupBy(receipts, ({ task_id }) => task_id);
  const strays = [...logs.keys()].filter((id) => !tasks.some((task) => task.task_id === id));
  return [
    ...strays.map((id) => `I1 ${id}: events without a task`),
    ...repeatedKeys(tasks),
    ...tasks.flatMap((task) => {
      const log = logs.get(task.task_id) ?? [];
      // It waits for an operator. Readers get its log up to the head.
      if (task.aside) return ofLog(log.filter(({ event_id }) => Number(event_id) <= Number(task.head_event_id)));
      return [
        ...ofLog(log),
        ...ofFence(log),
        ...ofStatus(task, log),
        ...ofQuestions(task, log, asked.get(task.task_id) ?? []),
        ...ofReceipts(log, answered.get(task.task_id) ?? []),
        ...ofSteps(log, finished.get(task.task_id) ?? []),
        ...(options.quiescent ? ofLimbo(task, log) : []),
      ].map((violation) => `${violation} (task ${task.task_id})`);
    }),
  ];
}

/** The log of one task as envelopes: exactly the bytes that every reader has to get. */
export async function storedEnvelopes(superuserUrl: string, taskId: string): Promise<string[]> {
  return connected(superuserUrl, async (client) => {
    const { rows } = await client.query<{ raw: string }>(
      `SELECT format('{"type":"%s","taskId":"%s","eventId":"%s","createdAt":"%s","payload":%s}', type, task_id, event_id,
         to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), payload) AS raw
       FROM taskbridge.events WHERE task_id = $1 ORDER BY event_id`,
      [taskId],
    );
    return rows.map(({ raw }) => raw);
  });
}

export async function connected<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

async function readAll(superuserUrl: string): Promise<Rows> {
  return connected(superuserUrl, async (client) => {
    // One snapshot for all reads, so that a service that still writes cannot make them disagree.
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const tasks = await client.query<TaskRow>(
      `SELECT task_id, tenant_id, owner_id, client_request_id, status, head_event_id, claimable_at IS NOT NULL AS queued,
         lease_token IS NOT NULL AS leased, lease_token IS NOT NULL AND lease_expires_at > now() AS leased_alive, suspend_id, aside_code IS NOT NULL AS aside
       FROM taskbridge.proj_tasks ORDER BY task_id`,
    );
    const events = await client.query<EventRow>(
      `SELECT task_id, event_id, type, payload, attempt, lease_number, batch_seq FROM taskbridge.events
       ORDER BY task_id, event_id`,
    );
    const questions = await client.query<QuestionRow>(
      'SELECT task_id, suspend_id, state FROM taskbridge.proj_suspensions',
    );
    const receipts = await client.query<ReceiptRow>(
      'SELECT task_id, client_action_id, suspend_id FROM taskbridge.entries_action_receipts',
    );
    const steps = await client.query<StepRow>(
      'SELECT task_id, step_key, event_id, attempt FROM taskbridge.entries_steps ORDER BY task_id, event_id',
    );
    return {
      steps: steps.rows,
      tasks: tasks.rows,
      events: events.rows,
      questions: questions.rows,
      receipts: receipts.rows,
    };
  });
}

function repeatedKeys(tasks: readonly TaskRow[]): string[] {
  const byKey = Map.groupBy(tasks, (task) => JSON.stringify([task.tenant_id, task.owner_id, task.client_request_id]));
  return [...byKey].filter(([, same]) => same.length > 1).map(([key, same]) => `I6 ${same.length} tasks for ${key}`);
}

function ofLog(log: readonly EventRow[]): string[] {
  const violations: string[] = [];
  log.forEach(({ event_id }, index) => {
    if (event_id !== String(index + 1)) violations.push(`I2 event ${event_id} at position ${index + 1}`);
  });
  const ends = log.filter(({ type }) => type in TERMINAL_STATUS);
  if (ends.length > 1) violations.push(`I5 ${ends.length} terminal events`);
  if (ends.length === 1 && ends[0] !== log.at(-1)) violations.push('I5 an event after the terminal one');
  const first = log[0];
  if (first !== undefined && first.type !== 'TASK_STARTED' && !(first.type in TERMINAL_STATUS)) {
    violations.push(`I8 the log begins with ${first.type}`);
  }
  const accepted = log.filter(({ type }) => type === 'TASK_ACTION_ACCEPTED').map(({ payload }) => payload['suspendId']);
  if (new Set(accepted).size < accepted.length) violations.push('I6 two accepted actions for one suspension');
  return violations;
}

/** I7 as far as a log shows it: no writes after a newer attempt or lease had begun, and none without a lease. */
function ofFence(log: readonly EventRow[]): string[] {
  const violations: string[] = [];
  let announced = 1;
  let attempt = 0;
  let lease = 0;
  let batch = 0;
  let open: unknown;
  for (const event of log) {
    const { type, payload } = event;
    const at = `event ${event.event_id}, ${type}`;
    if (event.attempt !== null && event.attempt < attempt) violations.push(`I7 ${at}, of an attempt that was over`);
    if (event.lease_number !== null && event.lease_number < lease)
      violations.push(`I7 ${at}, of a lease that was over`);
    if ((event.lease_number ?? lease) > lease) batch = 0;
    if ((event.batch_seq ?? batch) < batch) violations.push(`I7 ${at}, of a batch before the last`);
    attempt = event.attempt ?? attempt;
    lease = event.lease_number ?? lease;
    batch = event.batch_seq ?? batch;
    if (APPENDED.has(type) && event.attempt !== null && event.attempt < announced) {
      violations.push(`I7 ${at}, after the next attempt was announced`);
    }
    if (type === 'TASK_OUTPUT' && event.attempt !== null && payload['attempt'] !== event.attempt) {
      violations.push(`I7 ${at}, says attempt ${String(payload['attempt'])} and is of ${event.attempt}`);
    }
    if (open !== undefined && type !== 'TASK_ACTION_ACCEPTED' && !(type in TERMINAL_STATUS)) {
      violations.push(`I7 ${at}, while a question was open`);
    }
    if (type === 'TASK_ACTION_ACCEPTED' && payload['suspendId'] !== open) {
      violations.push(`I6 ${at}, of a question that was not open`);
    }
    if (type === 'TASK_SUSPENDED') open = payload['suspendId'];
    if (type === 'TASK_ACTION_ACCEPTED') open = undefined;
    if (type !== 'TASK_RETRYING') continue;
    announced += 1;
    if (payload['attempt'] !== announced) violations.push(`I8 ${at}, announces attempt ${String(payload['attempt'])}`);
    if (Number(payload['supersedesAfterEventId']) >= Number(event.event_id))
      violations.push(`I8 ${at}, supersedes itself`);
  }
  return violations;
}

function ofQuestions(task: TaskRow, log: readonly EventRow[], questions: readonly QuestionRow[]): string[] {
  const ids = (type: string) => log.filter((event) => event.type === type).map(({ payload }) => payload['suspendId']);
  const asked = ids('TASK_SUSPENDED');
  const answered = new Set(ids('TASK_ACTION_ACCEPTED'));
  const end = log.find(({ type }) => type in TERMINAL_STATUS);
  // A cancellation may overtake an expired question. Then both results are right.
  const unanswered = end?.payload['code'] === 'SUSPENSION_EXPIRED' ? ['expired'] : ['closed', 'expired'];
  const statesOf = (id: unknown) => (answered.has(id) ? ['answered'] : end ? unanswered : ['open']);
  const open = asked.find((id) => statesOf(id).includes('open')) ?? null;
  const violations: string[] = [];
  if (task.suspend_id !== open)
    violations.push(`I8 open question ${JSON.stringify(task.suspend_id)}, the events say ${JSON.stringify(open)}`);
  if (questions.length !== asked.length)
    violations.push(`I8 ${questions.length} questions, ${asked.length} were asked`);
  for (const { suspend_id, state } of questions) {
    const states = statesOf(suspend_id);
    if (!states.includes(state)) violations.push(`I8 question ${suspend_id} ${state}, the events say ${states.join()}`);
  }
  return violations;
}

/** Acceptance and receipt are one transaction: neither is there without the other. */
function ofReceipts(log: readonly EventRow[], receipts: readonly ReceiptRow[]): string[] {
  const accepted = log
    .filter(({ type }) => type === 'TASK_ACTION_ACCEPTED')
    .map(({ payload }) => `${String(payload['clientActionId'])} to ${String(payload['suspendId'])}`);
  const receipted = receipts.map(({ client_action_id, suspend_id }) => `${client_action_id} to ${suspend_id}`);
  const equal = accepted.toSorted().join() === receipted.toSorted().join();
  return equal ? [] : [`I6 accepted were ${accepted.join()}, receipts are there of ${receipted.join()}`];
}

/** A step's event and its result are one transaction, once in a task. Nothing voids what is before the last one. */
function ofSteps(log: readonly EventRow[], steps: readonly StepRow[]): string[] {
  const violations: string[] = [];
  const told: string[] = [];
  let boundary = 0;
  for (const { event_id, type, payload, attempt } of log) {
    const since = payload['supersedesAfterEventId'] as string | undefined;
    if (since !== undefined && Number(since) < boundary)
      violations.push(`I8 event ${event_id}, ${type}, voids after ${since} what a step made valid at ${boundary}`);
    if (type !== 'TASK_STEP' || payload['state'] !== 'completed') continue;
    boundary = Number(event_id);
    told.push(`${String(payload['key'])} at ${event_id} by ${attempt ?? 0}`);
  }
  const stored = steps.map(({ step_key, event_id, attempt }) => `${step_key} at ${event_id} by ${attempt}`);
  if (told.join() !== stored.join())
    violations.push(`I6 finished were ${told.join()}, results are there of ${stored.join()}`);
  return violations;
}

function ofStatus(task: TaskRow, log: readonly EventRow[]): string[] {
  const folded = log.reduce(
    (status, { type }) => TERMINAL_STATUS[type] ?? (status === 'ACCEPTED' ? 'RUNNING' : status),
    'ACCEPTED',
  );
  const violations: string[] = [];
  if (task.status !== folded) violations.push(`I8 status ${task.status}, the events say ${folded}`);
  if (task.head_event_id !== String(log.length))
    violations.push(`I8 head ${task.head_event_id} of ${log.length} events`);
  const over = Object.values(TERMINAL_STATUS).includes(task.status);
  if (over && (task.queued || task.leased)) violations.push('I8 over, and still queued or leased');
  if ([task.queued, task.leased, task.suspend_id !== null].filter(Boolean).length > 1) {
    violations.push('I8 more than one of queued, leased and suspended');
  }
  return violations;
}

function ofLimbo(task: TaskRow, log: readonly EventRow[]): string[] {
  const over = Object.values(TERMINAL_STATUS).includes(task.status);
  const answered = new Set(
    log.filter(({ type }) => type === 'TASK_ACTION_ACCEPTED').map(({ payload }) => payload['suspendId']),
  );
  const suspended = log.some(({ type, payload }) => type === 'TASK_SUSPENDED' && !answered.has(payload['suspendId']));
  return over || task.queued || task.leased_alive || suspended
    ? []
    : ['I9 neither queued, nor leased alive, nor suspended'];
}
