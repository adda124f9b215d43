import { Injectable } from '@nestjs/common';
import { principalKey } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { FIRST_TURN, hasUnplaced, placeTasks, readTimes } from './store/places.js';

/** Tasks that get their places in one transaction. */
const MAX_PLACED = 1_000;
/** The time of a type moves by this much with each claimed task, at least: else it would stand still while new owners come faster than tasks are claimed. */
const LEAST_STEP = 0.0001;
/** More owners would need more memory for little fairness. */
const MAX_OWNERS = 10_000;

/** An owner's line in the queue of a type. */
export interface Line {
  readonly tenantId: string;
  readonly ownerId: string;
  readonly taskType: string;
}

/**
 * The order of the queue, as this replica knows it: the time of each type, and the last places of owners. Other replicas' claims are
 * read each round. No row holds a time: it follows from the tasks that were claimed.
 */
@Injectable()
export class QueueOrder {
  readonly #times = new Map<string, number>();
  /** The last place that this replica gave, by owner and type. The oldest entry is first. */
  readonly #last = new Map<string, number>();
  #loaded: Promise<unknown> | undefined;

  constructor(private readonly database: Database) {}

  /** The largest place of a task of this type that was claimed for the first time. */
  now(taskType: string): number {
    return this.#times.get(taskType) ?? 0;
  }

  /** Resolves when the order of before this process is known. @throws DatabaseUnavailable */
  async load(): Promise<void> {
    const loading = (this.#loaded ??= this.readTimes());
    try {
      await loading;
    } catch (error) {
      if (this.#loaded === loading) this.#loaded = undefined;
      throw error;
    }
  }

  /**
   * The lowest place that the owner's next task may get, before the offset of its priority: after the present time, and a turn after
   * the owner's last task that was claimed. Tasks that wait are seen by the statement that stores it.
   */
  earliest(line: Line): number {
    const now = this.now(line.taskType);
    const last = this.#last.get(nameOf(line));
    return Math.max(now + FIRST_TURN, last === undefined ? 0 : Math.min(last, now) + 1);
  }

  /** `place`: without the offset of its priority. */
  placed(line: Line, place: number): void {
    const name = nameOf(line);
    const last = this.#last.get(name) ?? 0;
    this.#last.delete(name);
    this.#last.set(name, Math.max(last, place));
    for (const [oldest] of this.#last) {
      if (this.#last.size <= MAX_OWNERS) return;
      this.#last.delete(oldest);
    }
  }

  /** A task was claimed for the first time. `place`: without the offset of its priority. */
  served(taskType: string, place: number): void {
    this.#times.set(taskType, Math.max(place, this.now(taskType) + LEAST_STEP));
  }

  /** Learns the order from the other replicas, and gives due tasks their places. @returns the types of these tasks */
  async round(): Promise<ReadonlySet<string>> {
    const isDue = await this.readTimes();
    return isDue ? this.placeAll() : new Set<string>();
  }

  /** @returns the types of the tasks that got their places */
  async place(): Promise<ReadonlySet<string>> {
    return (await hasUnplaced(this.database)) ? this.placeAll() : new Set<string>();
  }

  private async placeAll(): Promise<ReadonlySet<string>> {
    const types = new Set<string>();
    const times = () => [...this.#times].map(([taskType, now]) => ({ taskType, now }));
    for (let placed = MAX_PLACED; placed === MAX_PLACED; ) {
      const found = await this.database.transaction((tx) => placeTasks(tx, times(), MAX_PLACED));
      for (const taskType of found) types.add(taskType);
      placed = found.length;
    }
    return types;
  }

  private async readTimes(): Promise<boolean> {
    const { times, isDue } = await readTimes(this.database);
    for (const { taskType, now } of times) this.#times.set(taskType, Math.max(now, this.now(taskType)));
    return isDue;
  }
}

function nameOf({ tenantId, ownerId, taskType }: Line): string {
  return principalKey({ tenantId, subject: ownerId }, taskType);
}
