/** Counts runs of a known number of tasks. A task that runs twice, or never, makes the run void. */
export class Tally {
  /** `stalledMs`: silence for this time means that a task was lost. Defaults to 10 000. */
  constructor(stalledMs?: number);
  /** When the first task ran, in ms of `performance.now()`. */
  readonly firstAt: number;
  /** Forgets what ran before. */
  begin(): void;
  ran(id: string | number): void;
  /** Resolves when `count` different tasks ran. Rejects after a silence, or when one ran twice. */
  reaches(count: number): Promise<void>;
}
