import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { Injectable } from '@nestjs/common';
import type { Backoff, TaskPolicy } from '#protocol/policies.js';
import { Database } from '../database/database.js';
import { Log } from '../observability/log.js';
import { Trouble } from '../observability/trouble.js';
import { Rounds } from '../rounds.js';
import { type LimitsByType, limitsOf } from './domain/limits.js';
import { BACKOFF } from './domain/decide.js';
import { HandlerPolicies } from './ports/handler-policies.js';
import type { Grace } from './store/lock-tasks.js';
import {
  lockType,
  newestRegistered,
  readTypes,
  readTypeVersions,
  registerPolicy,
  type TypeRow,
  writeType,
} from './store/type-policies.js';
import { TasksConfig } from './tasks.config.js';
import { type Configured, mergePolicies } from './domain/merge-policies.js';
import { ValueSchema } from '../json/schema/value-schema.js';

/** A changed policy counts on all replicas after this time. */
const EVERY_MS = 1_000;
/** Registrations that this replica knows to be written. */
const MAX_REGISTERED = 1_000;

const NONE: TaskPolicy = {};

/**
 * What applies to each task type. A row for each type has the policy in effect: every replica reads it, and each replica that starts,
 * or that hears of a new version of workers, computes it anew.
 */
@Injectable()
export class TaskPolicies {
  readonly #known = new Map<string, TypeRow>();
  readonly #registered = new Set<string>();
  readonly #schemas = new WeakMap<TypeRow, { inputSchema?: ValueSchema; resultSchema?: ValueSchema }>();
  readonly #rounds = new Rounds(
    () => this.round(),
    () => EVERY_MS,
  );
  readonly #trouble: Trouble;
  #loaded: Promise<unknown> | undefined;

  constructor(
    private readonly database: Database,
    private readonly handlers: HandlerPolicies,
    private readonly config: TasksConfig,
    private readonly log: Log,
  ) {
    this.#trouble = new Trouble(log, 'policies.failed', 'policies.recovered');
  }

  of(taskType: string): TaskPolicy {
    return this.#known.get(taskType)?.policy ?? NONE;
  }

  /** The attempts of a task of this type that may fail or be lost. `ofTask`: what its create asked for. */
  readonly maxAttemptsOf = (taskType: string, ofTask: number | null): number => {
    const ofType = this.of(taskType).maxAttempts ?? this.config.maxAttempts;
    return Math.min(ofTask ?? ofType, ofType);
  };

  backoffOf(taskType: string): Backoff {
    return this.of(taskType).backoff ?? BACKOFF;
  }

  /** Whether new tasks of the type may begin as they are stored. A claim judges rates, and the time of an attempt. */
  mayBeginAtCreate(taskType: string): boolean {
    const { rateLimit, startToFinishSeconds } = this.of(taskType);
    return rateLimit === undefined && startToFinishSeconds === undefined;
  }

  /** Of those of these types that have limits; null where none has. */
  limitsOf(taskTypes: readonly string[]): LimitsByType | null {
    const limited = taskTypes.flatMap((taskType) => {
      const limits = limitsOf(this.of(taskType));
      return limits ? [[taskType, limits] as const] : [];
    });
    return limited.length > 0 ? Object.fromEntries(limited) : null;
  }

  /** The limits of all types that have some. */
  allLimits(): LimitsByType {
    return this.limitsOf([...this.#known.keys()]) ?? {};
  }

  /** The types that have a time of their own to obey a cancellation. */
  graces(): readonly Grace[] {
    return [...this.#known].flatMap(([taskType, { policy }]) =>
      policy?.cancelGraceSeconds === undefined ? [] : [{ taskType, seconds: policy.cancelGraceSeconds }],
    );
  }

  /** Resolves when this replica has said what its file and handlers say, and knows the policies. @throws DatabaseUnavailable */
  async load(): Promise<void> {
    const loading = (this.#loaded ??= this.publish());
    try {
      await loading;
    } catch (error) {
      if (this.#loaded === loading) this.#loaded = undefined;
      throw error;
    }
  }

  async start(): Promise<void> {
    // PostgreSQL may be away. The first task waits for it.
    await this.load().catch((error: unknown) => this.#trouble.failed(error));
    this.#rounds.start();
  }

  stop(): Promise<void> {
    return this.#rounds.stop();
  }

  /** Whether this replica has registered the same before. `json`: as the worker has sent it. */
  haveHeard(version: string | undefined, json: string): boolean {
    return version !== undefined && this.#registered.has(hashOf(version, json));
  }

  /** Workers of this version have said what applies to these types. Resolves when it counts here. @throws DatabaseUnavailable */
  async register(version: string, policies: ReadonlyMap<string, TaskPolicy>, json: string): Promise<void> {
    await this.load();
    for (const [taskType, policy] of policies) {
      await this.database.transaction((tx) => registerPolicy(tx, taskType, { version, policy }));
      await this.refresh(taskType);
    }
    this.#registered.add(hashOf(version, json));
    const [oldest] = this.#registered;
    if (this.#registered.size > MAX_REGISTERED && oldest !== undefined) this.#registered.delete(oldest);
  }

  /** Whether any type has one: else nobody needs to know the type of a task. */
  haveSchemas(member: 'inputSchema' | 'resultSchema'): boolean {
    return [...this.#known.values()].some(({ policy }) => policy?.[member] !== undefined);
  }

  /** How inputs, or results, of the type must be; undefined where any is right. */
  schemaOf(taskType: string, member: 'inputSchema' | 'resultSchema'): ValueSchema | undefined {
    const row = this.#known.get(taskType);
    if (!row?.policy?.[member]) return undefined;
    const schemas = this.#schemas.get(row) ?? {};
    this.#schemas.set(row, schemas);
    return (schemas[member] ??= new ValueSchema(row.policy[member]));
  }

  private async publish(): Promise<void> {
    await this.read();
    const own = new Set([...this.config.taskTypes.keys(), ...this.handlers.policies.keys(), ...this.#known.keys()]);
    for (const taskType of own) {
      const before = this.#known.get(taskType)?.configured ?? {};
      const configured = this.configured(taskType, before);
      if (!isDeepStrictEqual(configured, before)) await this.refresh(taskType, configured);
    }
  }

  /** Where several replicas differ, the file of the one that started last counts. A handler says nothing where it does not run. */
  private configured(taskType: string, before: Configured): Configured {
    const file = this.config.taskTypes.get(taskType);
    const here = this.handlers.policies.get(taskType);
    const handler = here ? (Object.keys(here).length > 0 ? here : undefined) : before.handler;
    return { ...(file && { file }), ...(handler && { handler }) };
  }

  /** `given`: what is configured from now on. Absent: what the row says; without a row, what this replica knows. */
  private async refresh(taskType: string, given?: Configured): Promise<void> {
    const changed = await this.database.transaction(async (tx) => {
      const before = await lockType(tx, taskType);
      const configured = given ?? before.configured ?? this.configured(taskType, {});
      const merged = mergePolicies(configured, await newestRegistered(tx, taskType), this.config);
      const isSame =
        isDeepStrictEqual(configured, before.configured ?? {}) &&
        isDeepStrictEqual(merged, { policy: before.policy ?? {}, from: before.from ?? {} });
      if (!isSame) await writeType(tx, taskType, configured, merged);
      return isSame ? undefined : merged;
    });
    if (changed) this.log.info({ taskType, from: changed.from }, 'policy.changed');
    await this.readSome([taskType]);
  }

  private async round(): Promise<void> {
    try {
      await this.load();
      const gone = await this.read();
      // An operator has removed the row, and not what it was made of.
      for (const taskType of gone) await this.refresh(taskType);
      this.#trouble.worked();
    } catch (error) {
      this.#trouble.failed(error);
    }
  }

  /** @returns the types whose rows are gone */
  private async read(): Promise<readonly string[]> {
    const versions = await readTypeVersions(this.database);
    await this.readSome(
      versions
        .filter(({ taskType, version }) => this.#known.get(taskType)?.version !== version)
        .map(({ taskType }) => taskType),
    );
    const there = new Set(versions.map(({ taskType }) => taskType));
    const gone = [...this.#known.keys()].filter((taskType) => !there.has(taskType));
    for (const taskType of gone) this.#known.delete(taskType);
    return gone;
  }

  private async readSome(taskTypes: readonly string[]): Promise<void> {
    if (taskTypes.length === 0) return;
    for (const row of await readTypes(this.database, taskTypes)) this.#known.set(row.taskType, row);
  }
}

function hashOf(version: string, json: string): string {
  return createHash('sha256').update(`${version} ${json}`).digest('hex');
}
