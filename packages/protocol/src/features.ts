// What clients and workers may send, or ask for, that release 0.1.0 refuses. A name never changes its meaning.

interface FeatureRow {
  /** The release that brought it. */
  readonly since: string;
  /** For PROTOCOL.md. */
  readonly meaning: string;
}

export const FEATURES = {
  bigIntegers: { since: '0.2.0', meaning: 'integers beyond ±2^53 in free-form JSON keep their value' },
  unicodeRequestIds: { since: '0.2.0', meaning: '`clientRequestId` may have any printable character of Unicode' },
  slashTaskTypes: { since: '0.2.0', meaning: '`taskType` may have `/`' },
  steps: { since: '0.2.0', meaning: 'finished [steps](#steps) are stored, and a claim may say `steps: true`' },
  workerFiles: {
    since: '0.2.0',
    meaning: 'a worker may [attach files](docs/workers.md#attach-a-file) to its task',
  },
  eventKeys: { since: '0.2.0', meaning: 'a batch of a worker may have a key on each event, and no `batchSeq`' },
  heartbeats: { since: '0.2.0', meaning: '`POST /worker/v1/heartbeats` extends many leases' },
  leaseSeconds: { since: '0.2.0', meaning: 'a claim may say `leaseSeconds`' },
  registration: { since: '0.2.0', meaning: 'a claim may say `version` and `features`' },
  signals: { since: '0.2.0', meaning: '`POST /worker/v1/signals` brings cancellations at once' },
  followTokens: {
    since: '0.2.0',
    meaning:
      '[follow tokens](#follow-tokens), and the subprotocol `taskbridge.v1`; where all replicas have keys for them',
  },
  outputSnapshots: {
    since: '0.2.0',
    meaning: '`include=output` of a snapshot, and `from` where a stream or a subscription begins',
  },
  beforeEventId: { since: '0.2.0', meaning: 'pages of events backwards, by `beforeEventId`' },
  listByRequestId: { since: '0.2.0', meaning: 'the list filters by `clientRequestId`' },
  actionSchemas: {
    since: '0.2.0',
    meaning: 'a question may have `actionSchemas`, which [answers](#answer-post-taskstaskidactions) have to fit',
  },
  runAgain: { since: '0.2.0', meaning: '[`POST /tasks/{taskId}/retry`](#run-again-post-taskstaskidretry)' },
  schedules: { since: '0.2.0', meaning: '[schedules](#schedules), which create tasks at times of the clock' },
  erasing: { since: '0.2.0', meaning: '[erasing](#erase) of a task, and of the tasks of an owner' },
  bulk: { since: '0.2.0', meaning: '[cancelling and running again](#many-tasks-at-once) of many tasks at once' },
  policies: {
    since: '0.2.0',
    meaning:
      'a create may say `startAfter`, `delaySeconds`, `priority`, `deadline` and `maxAttempts`, and a claim `policies`; types have [policies](docs/queue.md)',
  },
  operators: {
    since: '0.2.0',
    meaning:
      'more filters of the [list](#list-get-tasks), tasks of others in it, and [routes for operators](#for-operators)',
  },
  feed: { since: '0.2.0', meaning: 'the [feed of changes](#changes-get-taskschanges), over each transport' },
} as const satisfies Readonly<Record<string, FeatureRow>>;

export type Feature = keyof typeof FEATURES;
export const FEATURE_NAMES = Object.keys(FEATURES) as readonly Feature[];
