import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { TaskPolicies } from './task-policies.js';
import { letHeldTasksGo } from './store/let-held-go.js';

/** The pause between two looks for room. */
const EVERY_MS = 250;
/** The shortest one: a rate with a small bucket, which would be full before the next look. */
const SHORTEST_MS = 50;

/** Tasks that limits keep from running, and what gives them room: an end of an attempt, or time. */
@Injectable()
export class HeldTasks {
  readonly #ended = new Set<string>();
  #listener: () => void = () => undefined;

  constructor(
    private readonly database: Database,
    private readonly policies: TaskPolicies,
  ) {}

  /** Is called when an attempt has ended on this replica, and made room. */
  onRoom(listener: () => void): void {
    this.#listener = listener;
  }

  /** An attempt has ended, whatever became of it. */
  ended(taskType: string): void {
    if (this.policies.limitsOf([taskType]) === null) return;
    this.#ended.add(taskType);
    this.#listener();
  }

  /** @returns the types of which a task may be claimable now. @throws DatabaseUnavailable */
  async letGo(): Promise<ReadonlySet<string>> {
    await this.policies.load();
    const ended = [...this.#ended];
    this.#ended.clear();
    const limits = this.policies.allLimits();
    const gone = await letHeldTasksGo(this.database, limits);
    const rated = Object.keys(limits).filter((taskType) => limits[taskType]?.burst !== undefined);
    return new Set([...ended, ...gone, ...rated]);
  }

  /** How long until `letGo` has to be called again. */
  get pauseMs(): number {
    const fillMs = Object.values(this.policies.allLimits()).flatMap(({ burst, keyBurst, perSecond }) =>
      perSecond === undefined ? [] : [((burst ?? keyBurst ?? 1) / perSecond) * 1_000],
    );
    return Math.max(SHORTEST_MS, Math.min(EVERY_MS, ...fillMs));
  }
}
