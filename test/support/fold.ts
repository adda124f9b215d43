import pg from 'pg';

// What the guarantees say about a database, read from its rows alone. Written without a look at `decide` and `evolve`: a
// checker that shares code with what it checks finds nothing.

interface EventRow {
  readonly task_id: string;
  readonly event_id: string;
  readonly type: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

interface TaskRow {
  readonly task_id: string;
  readonly tenant_id: string;
  readonly owner_id: string;
  readonly client_request_id: string;
  readonly status: string;
  readonly head_event_id: string;
  readonly queued: boolean;
  readonly leased_alive: boolean;
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

/** Fails with one line for each violation of I2, I5, I6, I8, and after quiescence I9. */
export async function checkInvariants(superuserUrl: string, options: InvariantOptions = {}): Promise<void> {
  const violations = await findViolations(superuserUrl, options);
  if (violations.length > 0) throw new Error(`${violations.length} violation(s):\n${violations.join('\n')}`);
}

async function findViolations(superuserUrl: string, options: InvariantOptions = {}): Promise<string[]> {
  const { tasks, events } = await readAll(superuserUrl);
  const logs = Map.groupBy(events, ({ task_id }) => task_id);
  const strays = [...logs.keys()].filter((id) => !tasks.some((task) => task.task_id === id));
  return [
    ...strays.map((id) => `I1 ${id}: events without a task`),
    ...repeatedKeys(tasks),
    ...tasks.flatMap((task) => {
      const log = logs.get(task.task_id) ?? [];
      return [...ofLog(log), ...ofStatus(task, log), ...(options.quiescent ? ofLimbo(task, log) : [])].map(
        (violation) => `${violation} (task ${task.task_id})`,
      );
    }),
  ];
}

/** The log of one task as envelopes: the very bytes that every reader has to be given. */
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

async function readAll(superuserUrl: string): Promise<{ tasks: TaskRow[]; events: EventRow[] }> {
  return connected(superuserUrl, async (client) => {
    // One snapshot for both reads, so that a service that still writes cannot make them disagree.
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const tasks = await client.query<TaskRow>(
      `SELECT task_id, tenant_id, owner_id, client_request_id, status, head_event_id, claimable_at IS NOT NULL AS queued,
         lease_token IS NOT NULL AND lease_expires_at > now() AS leased_alive
       FROM taskbridge.proj_tasks ORDER BY task_id`,
    );
    const events = await client.query<EventRow>(
      'SELECT task_id, event_id, type, payload FROM taskbridge.events ORDER BY task_id, event_id',
    );
    return { tasks: tasks.rows, events: events.rows };
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
  if (over && (task.queued || task.leased_alive)) violations.push('I8 over, and still queued or leased');
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
