export type MetricKind = 'counter' | 'gauge' | 'histogram';

export interface Metric {
  readonly kind: MetricKind;
  readonly help: string;
  /** Each label has few values: no ids, and no texts of clients. */
  readonly labels: readonly string[];
  /** Upper bounds in seconds, of histograms. */
  readonly buckets?: readonly number[];
}

/** From a commit on a local disk to a time at which clients have given up. */
const REQUEST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** A claim waits for a free worker, which may take minutes. */
const CLAIM_SECONDS = [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];
/** A long-poll waits up to 60 s, a stream lives up to an hour. */
const HTTP_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 3600];

/** The metrics of MetricsSink, without the prefix `taskbridge_`. */
export const METRICS = {
  task_starts_total: { kind: 'counter', help: 'Created tasks; repeats count as duplicates', labels: [] },
  task_failures_total: { kind: 'counter', help: 'Tasks that ended in TASK_FAILED', labels: [] },
  duplicates_total: { kind: 'counter', help: 'Creates that got an earlier task', labels: [] },
  fallbacks_total: { kind: 'counter', help: 'Clients that continued over a less capable transport', labels: [] },
  cancels_total: { kind: 'counter', help: 'Accepted requests to cancel a task', labels: [] },
  actions_total: { kind: 'counter', help: 'Actions by the status of their answer', labels: ['status'] },
  schedule_ticks_total: {
    kind: 'counter',
    help: 'Ticks of schedules by what became of them: created, or why there is no task',
    labels: ['outcome'],
  },
  bulk_tasks_total: {
    kind: 'counter',
    help: 'Tasks of bulks by kind: done, or refused for this task',
    labels: ['kind', 'outcome'],
  },
  bulks_unfinished: { kind: 'gauge', help: 'Bulks that run, on all replicas together', labels: [] },
  reruns_total: { kind: 'counter', help: 'Created tasks that run another one again', labels: [] },
  tasks_erased_total: { kind: 'counter', help: 'Tasks that were removed on request', labels: [] },
  schedules_failing: { kind: 'gauge', help: 'Whether ticks of schedules fail on this replica', labels: [] },
  streams_active: { kind: 'gauge', help: 'Clients that follow a task right now', labels: ['transport'] },
  changes_delivered_total: {
    kind: 'counter',
    help: 'Changes of tasks written to followers of feeds',
    labels: ['transport'],
  },
  change_delivery_seconds: {
    kind: 'histogram',
    help: 'From the write of a change to its reading for a follower that had all before, by the clock of PostgreSQL',
    labels: [],
    buckets: REQUEST_SECONDS,
  },
  change_reads_failed_total: {
    kind: 'counter',
    help: 'Reads of changes that PostgreSQL did not answer; feeds wait and lose nothing',
    labels: [],
  },
  change_cursors_expired_total: {
    kind: 'counter',
    help: 'Cursors of feeds that were answered with CURSOR_EXPIRED',
    labels: [],
  },
  append_seconds: {
    kind: 'histogram',
    help: 'From the arrival of events to their commit',
    labels: [],
    buckets: REQUEST_SECONDS,
  },
  commit_to_delivery_seconds: {
    kind: 'histogram',
    help: 'From the commit of a live event to its writing to a client',
    labels: [],
    buckets: REQUEST_SECONDS,
  },
  claim_lag_seconds: {
    kind: 'histogram',
    help: 'How long a claimable task waited for its claim',
    labels: [],
    buckets: CLAIM_SECONDS,
  },
  use_case_duration_seconds: {
    kind: 'histogram',
    help: 'Use-cases by name and outcome: success, denied, failed',
    labels: ['use_case', 'outcome'],
    buckets: REQUEST_SECONDS,
  },
  snapshot_output_seconds: {
    kind: 'histogram',
    help: 'From the request for a snapshot with output to its text, waiting for a turn included',
    labels: [],
    buckets: REQUEST_SECONDS,
  },
  snapshot_outputs_truncated_total: {
    kind: 'counter',
    help: 'Snapshots with output that lack older text',
    labels: [],
  },
  http_request_duration_seconds: {
    kind: 'histogram',
    help: 'HTTP requests to the end of their answer, by route template',
    labels: ['method', 'route', 'status'],
    buckets: HTTP_SECONDS,
  },
  attachment_store_failures_total: {
    kind: 'counter',
    help: 'Calls of the attachment store that failed because it does not answer or has no room: put, open, remove',
    labels: ['operation'],
  },
  worker_signals_waiting: { kind: 'gauge', help: 'Calls of remote workers that wait for signals', labels: [] },
  follow_tokens_refused: {
    kind: 'gauge',
    help: '1 while this replica cannot read which follow tokens were revoked; after 2 s it refuses all of them',
    labels: [],
  },
  tasks_aside: {
    kind: 'gauge',
    help: 'Tasks that could not be written, were set aside, and wait for an operator',
    labels: [],
  },
  reaper_failing: {
    kind: 'gauge',
    help: '1 for each kind of work that the reaper of this replica cannot do, such as lost leases, cancellations, deadlines and upkeep',
    labels: ['work'],
  },
  tasks_expired_total: {
    kind: 'counter',
    help: 'Tasks that did not begin, or did not end, before their deadline',
    labels: [],
  },
  task_types_paused: { kind: 'gauge', help: 'Task types that an operator has paused', labels: [] },
  tasks: {
    kind: 'gauge',
    help: 'Tasks that are not over, by state: waiting, held, running, suspended; the count stops at 10000 in all',
    labels: ['state'],
  },
  oldest_non_terminal_age_seconds: { kind: 'gauge', help: 'Age of the oldest task that is not over', labels: [] },
  oldest_claimable_age_seconds: {
    kind: 'gauge',
    help: 'How long the longest waiting task has been claimable',
    labels: [],
  },
  oldest_ended_age_seconds: {
    kind: 'gauge',
    help: 'Age of the oldest ended task that is still stored',
    labels: [],
  },
  oldest_xmin_age_transactions: {
    kind: 'gauge',
    help: 'How many transactions ago the oldest snapshot was taken that keeps PostgreSQL from removing dead rows',
    labels: [],
  },
  ready: {
    kind: 'gauge',
    help: '1 for each ready part; the part all is the answer of /ready',
    labels: ['part'],
  },
  weak_setting: { kind: 'gauge', help: '1 for each weak setting', labels: ['name'] },
} as const satisfies Record<string, Metric>;

/** The metrics of TransportDiagnosticsSink. */
export const TRANSPORT_METRICS = {
  replays_total: { kind: 'counter', help: 'Replays from the log, at their beginning', labels: [] },
  events_delivered_total: { kind: 'counter', help: 'Events written to clients', labels: ['transport'] },
  heartbeats_total: { kind: 'counter', help: 'Heartbeats written to clients', labels: ['transport'] },
  disconnects_total: { kind: 'counter', help: 'Streams that ended, by reason', labels: ['transport', 'reason'] },
  live_log_gaps_healed_total: {
    kind: 'counter',
    help: 'Events that the live log lost and PostgreSQL supplied',
    labels: [],
  },
  slow_consumer_closes_total: {
    kind: 'counter',
    help: 'Streams closed because the client did not read',
    labels: ['transport'],
  },
} as const satisfies Record<string, Metric>;

/** Counted without a sink: the sinks are among the ports. */
export const HOST_METRICS = {
  host_port_failures_total: {
    kind: 'counter',
    help: 'Calls of a host module that threw, did not answer in time (timeout), or answered nonsense',
    labels: ['port', 'method', 'problem'],
  },
} as const satisfies Record<string, Metric>;

type Metrics = typeof METRICS;
type NameOf<Kind extends MetricKind> = {
  [Name in keyof Metrics]: Metrics[Name]['kind'] extends Kind ? Name : never;
}[keyof Metrics];

export type CounterName = NameOf<'counter'>;
export type GaugeName = NameOf<'gauge'>;
export type HistogramName = NameOf<'histogram'>;

/** The last argument of a call about `Name`: exactly its labels, or none. */
export type LabelsOf<Name extends keyof Metrics> = Metrics[Name]['labels'] extends readonly []
  ? []
  : [labels: Readonly<Record<Metrics[Name]['labels'][number], string>>];
