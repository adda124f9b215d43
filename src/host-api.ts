// What a host module imports as `taskbridge`: the ports it may replace, under the tokens they are injected by, and the words of
// their signatures. This is the package's public surface; everything else may change.

export {
  type JsonObject,
  type SuspendAnswer,
  type SuspendRequest,
  type TaskAttachment,
  type TaskContext,
  TaskFailure,
  type TaskHandler,
  type TaskHandlers,
} from '#handler/task-handler.js';
export type { AuthContext } from './auth/auth-context.js';
export { AuthContextResolver } from './auth/auth-context-resolver.js';
export { AccessDenied, NotAuthenticated } from './auth/auth.errors.js';
export { LiveLog, type LiveLogFollower } from './delivery/live-log.js';
export { TaskExecutor } from './execution/task-executor.js';
export { TASK_HANDLERS } from './execution/handlers.js';
export { ReadinessProbe, type Readiness } from './health/readiness-probe.js';
export { MetricsSink } from './observability/metrics-sink.js';
export { TransportDiagnosticsSink } from './observability/transport-diagnostics-sink.js';
export { OwnershipPolicy, type OwnedTask } from './ownership/ownership-policy.js';
export { TaskBridgeError } from './taskbridge-error.js';
export { AttachmentStore, type ByteRange } from './uploads/attachment-store.js';
export type { UploadedFile } from './uploads/uploaded-file.js';
export { UploadPolicy, type UploadAllowance } from './uploads/upload-policy.js';
export {
  AttachmentMissing,
  AttachmentStoreUnavailable,
  UploadForbidden,
  UploadInvalid,
} from './uploads/uploads.errors.js';
