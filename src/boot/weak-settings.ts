import type { Config } from './config.js';

export interface WeakSetting {
  /** The setting to look at. */
  readonly name: string;
  readonly why: string;
}

/** What is allowed and yet weaker than it could be. Each gets one boot line and a gauge: a missing piece is visible, not silent. */
export function weakSettings(
  config: Config,
  executable: { readonly taskTypes: readonly string[] },
): readonly WeakSetting[] {
  const { auth, database, delivery, execution, observability } = config;
  const weak: (WeakSetting | false)[] = [
    !auth.requireAuthenticatedPrincipal && {
      name: 'REQUIRE_AUTHENTICATED_PRINCIPAL',
      why: 'requests without a principal act as the system principal',
    },
    auth.requireAuthenticatedPrincipal &&
      auth.proxySecrets.length === 0 && {
        name: 'AUTH_PROXY_SECRET',
        why: 'the identity headers are trusted without proof that the proxy set them',
      },
    database.url === undefined && {
      name: 'DATABASE_URL',
      why: 'the embedded PostgreSQL is for one replica on one machine',
    },
    database.url !== undefined &&
      delivery.redisUrl === undefined && {
        name: 'REDIS_URL',
        why: 'events of other replicas arrive with the head comparison, up to a second late',
      },
    observability.otelExporter === 'none' && { name: 'OTEL_EXPORTER', why: 'traces are not exported' },
    executable.taskTypes.length === 0 && {
      name: 'EXECUTOR',
      why: 'nobody is known to execute any task: there are no inline handlers and no worker was seen',
    },
  ];
  return weak.filter((setting) => setting !== false);
}
