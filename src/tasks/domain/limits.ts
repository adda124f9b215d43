import type { TaskPolicy } from '#protocol/policies.js';

/** What the claims of a type are bounded by, for the functions of migrations/0009: each member absent where nothing is set. */
export interface Limits {
  /** Tasks that may run at a time: of the type, of an owner, of a value of the concurrency key. */
  readonly type?: number;
  readonly owner?: number;
  readonly key?: number;
  /** The size of the bucket of the type, or of each value of the rate's key, and what comes in. */
  readonly burst?: number;
  readonly keyBurst?: number;
  readonly perSecond?: number;
}

export type LimitsByType = Readonly<Record<string, Limits>>;

/** Undefined where claims of the type have no limit. */
export function limitsOf({
  maxRunning: type,
  maxRunningPerOwner: owner,
  concurrencyKey,
  maxRunningPerKey = 1,
  rateLimit,
}: TaskPolicy): Limits | undefined {
  const limits: Limits = {
    ...(type !== undefined && { type }),
    ...(owner !== undefined && { owner }),
    ...(concurrencyKey !== undefined && { key: maxRunningPerKey }),
    ...(rateLimit && bucketOf(rateLimit)),
  };
  return Object.keys(limits).length > 0 ? limits : undefined;
}

function bucketOf({ limit, periodSeconds, burst = limit, key }: NonNullable<TaskPolicy['rateLimit']>): Limits {
  return { ...(key === undefined ? { burst } : { keyBurst: burst }), perSecond: limit / periodSeconds };
}
