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
  /** Tasks of a drain, and of a drain by remote workers. */
  readonly backlog: number;
  readonly remoteTasks: number;
  /** Owners of a drained backlog. */
  readonly owners: number;
  /** Tasks that wait beside a claim of one, and their owners. */
  readonly waiting: number;
  readonly waitingOwners: number;
  /** Claims of one in a repetition. At most 50: the smaller queue has 100 tasks. */
  readonly claims: number;
  /** Streams of tokens to begin the search with, and the most. */
  readonly streams: readonly [number, number];
  /** Tasks with ten steps in a repetition. */
  readonly stepTasks: number;
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
  backlog: 20_000,
  remoteTasks: 3_000,
  owners: 100,
  waiting: 1_000_000,
  waitingOwners: 10_000,
  claims: 30,
  streams: [100, 800],
  stepTasks: 20,
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
  backlog: 60,
  remoteTasks: 60,
  owners: 4,
  waiting: 300,
  waitingOwners: 30,
  claims: 3,
  streams: [2, 4],
  stepTasks: 1,
};
