/** The sizes of all goals. */
export interface Sizes {
  readonly repetitions: number;
  /** Seconds of one repetition of a rate. */
  readonly seconds: number;
  readonly tasks: number;
  readonly subscribers: number;
  readonly burst: number;
  /** Rounds of one repetition of a median. */
  readonly rounds: number;
  readonly writers: number;
  readonly idleSubscribers: number;
  readonly history: number;
  readonly manyTasks: number;
  readonly idleWorkers: number;
  readonly returning: number;
}

export const FULL: Sizes = {
  repetitions: 5,
  seconds: 1.5,
  tasks: 100,
  subscribers: 1_000,
  burst: 16,
  rounds: 200,
  writers: 64,
  idleSubscribers: 10_000,
  history: 1_000_000,
  manyTasks: 10_000,
  idleWorkers: 1_000,
  returning: 2_000,
};

/** All goals once and small: a test of the bench, without a meaning for speed. */
export const SMOKE: Sizes = {
  repetitions: 1,
  seconds: 0.05,
  tasks: 4,
  subscribers: 8,
  burst: 4,
  rounds: 5,
  writers: 4,
  idleSubscribers: 20,
  history: 500,
  manyTasks: 20,
  idleWorkers: 10,
  returning: 10,
};
