/** Counts runs of a known number of tasks. A task that runs twice, or never, makes the run void. */
export class Tally {
  /** When the first task ran, in ms of `performance.now()`. */
  readonly firstAt: number;
  /** Forgets what ran before. */
  begin(): void;
  ran(id: string | number): void;
  /** Resolves when `count` different tasks ran. Rejects when nothing ran for ten seconds, or when one ran twice. */
  reaches(count: number): Promise<void>;
}
