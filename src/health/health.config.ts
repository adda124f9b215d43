/** When a replica takes itself out of service. */
export abstract class HealthConfig {
  /** `degraded`: a lost Redis is shown, and the replica stays ready. From READINESS_REDIS. Defaults to `required`. */
  abstract readonly readinessRedis: 'required' | 'degraded';
}
