export {
  TaskFailure,
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
  type TaskHandler,
  type TaskHandlers,
} from '../../handler/src/task-handler.js';
export type { StandardSchema } from '../../handler/src/standard-schema.js';
export { defineTask, type TaskDefinition } from '../../handler/src/define-task.js';
export { Worker, type WorkerOptions } from './worker.js';
export type { WorkerProblem } from './worker-problem.js';
