// What a host module imports as `taskbridge`: the ports that it may replace, under the tokens they are injected by; the parts that it
// composes them from; what its own controllers need. This is the package's public surface (docs/hosting.md says what of it is
// stable); everything else may change.

// Who is calling.
export type { AuthContext, FollowTokenReach, Scope } from './auth/auth-context.js';
export { AuthContextResolver } from './auth/auth-context-resolver.js';
export { AccessDenied, NotAuthenticated } from './auth/auth.errors.js';

// The routes of a host.
export { Caller, Public, Requires } from './auth/route.decorators.js';

// The bodies of these routes.
export { AnyJson, AsText, Elements, JsonObjectText } from './http/body-shape.js';
export { JsonText } from './json/json-text.js';
export { treeOf } from './json/json-tree.js';
export { Optional, Present } from './http/optional.decorator.js';

// Whose tasks those are.
export { OwnershipPolicy, type OwnedTask } from './ownership/ownership-policy.js';

// Whether an answer is valid.
export { type ActionToValidate, ActionValidationPolicy } from './ownership/action-validation-policy.js';
export { ActionInvalid } from './errors.js';

// Files.
export { AttachmentStore, type ByteRange } from './uploads/attachment-store.js';
export type { UploadedFile } from './uploads/uploaded-file.js';
export { UploadPolicy, type UploadAllowance } from './uploads/upload-policy.js';
export {
  AttachmentMissing,
  AttachmentStoreUnavailable,
  UploadForbidden,
  UploadInvalid,
} from './uploads/uploads.errors.js';

// Events on their way to other replicas.
export { LiveLog, type LiveLogFollower } from './tasks/ports/live-log.js';
export { StoredEvent } from './tasks/domain/stored-event.js';

// Tasks that run in the service.
export {
  type Attachment,
  type FileBytes,
  type JsonObject,
  type StepContext,
  type StepOptions,
  type StepRun,
  type SuspendAnswer,
  type SuspendRequest,
  type TaskAttachment,
  type TaskContext,
  TaskFailure,
  type TaskHandler,
  type TaskHandlers,
} from '#handler/task-handler.js';
export { defineTask, type TaskDefinition } from '#handler/define-task.js';
export type { StandardSchema } from '#handler/standard-schema.js';
export type { TaskPolicy } from '#protocol/policies.js';
export { TASK_HANDLERS } from './execution/handlers.js';
export type { SuspensionKind } from '#protocol/events.js';

// Readiness.
export {
  AlwaysReadyProbe,
  AttachmentsReadinessProbe,
  ExecutorReadinessProbe,
  PostgresReadinessProbe,
  RedisReadinessProbe,
} from './health/probes.js';
export { CompositeReadinessProbe, type CompositeOptions } from './health/composite-readiness-probe.js';
export { ReadinessProbe, type Readiness } from './health/readiness-probe.js';

// What operators see.
export { Log } from './observability/log.js';
export type { CounterName, GaugeName, HistogramName, LabelsOf } from './observability/metrics.js';
export { MetricsSink, NoOpMetricsSink } from './observability/metrics-sink.js';
export { PrometheusMetricsSink } from './observability/prometheus-metrics-sink.js';
export { PrometheusTransportDiagnosticsSink } from './observability/prometheus-transport-diagnostics-sink.js';
export {
  NoOpTransportDiagnosticsSink,
  TransportDiagnosticsSink,
} from './observability/transport-diagnostics-sink.js';

// Refusals.
export type { ErrorKind } from '#protocol/errors.js';
export { TaskBridgeError } from './errors.js';
