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
  feed: { since: '0.2.0', meaning: 'the [feed of changes](#changes-get-taskschanges), over each transport' },
} as const satisfies Readonly<Record<string, FeatureRow>>;

export type Feature = keyof typeof FEATURES;
export const FEATURE_NAMES = Object.keys(FEATURES) as readonly Feature[];
