import { AuthContextResolver } from '../auth/auth-context-resolver.js';
import { LiveLog } from '../tasks/ports/live-log.js';
import type { Hosted } from '../hosted.js';
import { AttachmentStore } from '../uploads/attachment-store.js';
import type { Config } from './config.js';

export interface WeakSetting {
  /** The setting to look at. */
  readonly name: string;
  readonly why: string;
}

/**
 * Settings that are allowed, though stronger ones exist. Each gets a line at boot and a gauge, so a missing part is visible.
 * Settings of parts that a host module replaces are left out.
 */
export function weakSettings(
  config: Config,
  hosted: Hosted,
  executable: { readonly taskTypes: readonly string[] },
): readonly WeakSetting[] {
  const { auth, database, execution, liveLog, observability, uploads } = config;
  const servesWorkers = execution.executors.includes('worker');
  const resolvesHeaders = !hosted.has(AuthContextResolver);
  const weak: (WeakSetting | false)[] = [
    resolvesHeaders &&
      !auth.requireAuthenticatedPrincipal && {
        name: 'REQUIRE_AUTHENTICATED_PRINCIPAL',
        why: 'requests without a principal act as the system principal',
      },
    resolvesHeaders &&
      auth.requireAuthenticatedPrincipal &&
      auth.proxySecrets.length === 0 && {
        name: 'AUTH_PROXY_SECRET',
        why: 'the identity headers are trusted without proof that the proxy set them',
      },
    database.url === undefined && {
      name: 'DATABASE_URL',
      why: 'the embedded PostgreSQL is for one replica on one machine',
    },
    !hosted.has(LiveLog) &&
      database.url !== undefined &&
      liveLog.redisUrl === undefined && {
        name: 'REDIS_URL',
        why: 'events of other replicas arrive with the head comparison, up to two seconds late',
      },
    !hosted.has(AttachmentStore) &&
      uploads.store === 'filesystem' && {
        name: 'ATTACHMENT_STORE',
        why: 'attachments are on a local disk: other replicas do not see them, and a lost disk loses them',
      },
    observability.otelExporter === 'none' && { name: 'OTEL_EXPORTER', why: 'traces are not exported' },
    servesWorkers &&
      execution.workerTokens.length === 0 && {
        name: 'WORKER_TOKENS',
        why: 'remote workers are refused: there is no token',
      },
    (servesWorkers || executable.taskTypes.length === 0) && {
      name: 'EXECUTOR',
      why: servesWorkers
        ? 'no worker has come since the start; the gauge falls to 0 when one comes'
        : 'no task has an executor: there are no inline handlers',
    },
  ];
  return weak.filter((setting) => setting !== false);
}
