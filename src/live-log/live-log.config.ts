/** How events reach other replicas. */
export abstract class LiveLogConfig {
  /** `redis://` or `rediss://`; absent: the in-process live log. From REDIS_URL. */
  abstract readonly redisUrl?: string;
}
