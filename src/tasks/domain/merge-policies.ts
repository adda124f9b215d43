import type { PolicyMember, TaskPolicy } from '#protocol/policies.js';

/** What is set by operators and by the authors of the handlers in this service. */
export interface Configured {
  readonly file?: TaskPolicy;
  readonly handler?: TaskPolicy;
}

/** What the newest version of workers registered. */
export interface Registered {
  readonly version: string;
  readonly policy: TaskPolicy;
}

export interface Merged {
  readonly policy: TaskPolicy;
  /** By member: `file`, `handler` or `worker:` and its version. */
  readonly from: Readonly<Partial<Record<PolicyMember, string>>>;
}

/** What counts where nothing is set: a worker may only narrow it. */
export type Defaults = Readonly<Required<Pick<TaskPolicy, 'maxAttempts' | 'cancelGraceSeconds'>>>;

/** The file over the handler, member by member. Of a worker: the lower number, and what neither of them sets. */
export function mergePolicies({ file, handler }: Configured, worker: Registered | null, defaults: Defaults): Merged {
  const policy: Record<string, unknown> = {};
  const from: Record<string, string> = {};
  const take = (source: string, given: TaskPolicy = {}) => {
    for (const [member, value] of Object.entries(given)) {
      policy[member] = value;
      from[member] = source;
    }
  };
  take('handler', handler);
  take('file', file);
  const { keyed, ...narrowing } = unkeyed(worker?.policy ?? {}, policy['concurrencyKey'] as string | undefined);
  take(
    `worker:${worker?.version}`,
    Object.fromEntries(
      Object.entries({ ...narrowing, ...keyed }).filter(([member, value]) => {
        const present = policy[member] ?? defaults[member as keyof Defaults];
        return present === undefined || (typeof present === 'number' && (value as number) < present);
      }),
    ),
  );
  return { policy, from };
}

/** The number for a key counts for the key that it was meant for. */
function unkeyed({ concurrencyKey, maxRunningPerKey, ...others }: TaskPolicy, present: string | undefined) {
  const isForPresent = present === undefined || concurrencyKey === undefined || concurrencyKey === present;
  const keyed = { ...(concurrencyKey && { concurrencyKey }), ...(maxRunningPerKey && { maxRunningPerKey }) };
  return { ...others, keyed: isForPresent ? keyed : {} };
}
