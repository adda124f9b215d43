import { ApiProperty } from '@nestjs/swagger';
import { AnyJson } from '../../http/any-json.decorator.js';
import { JsonText, writeObject } from '../../http/json-text.js';
import { TASK_STATUSES, type TaskStatus } from '../domain/task.js';
import type { TaskView } from '../store/read-task.js';

export class TaskFailureDto {
  code!: string;
  message!: string;
  retryable!: boolean;
}

export class TaskAsideDto {
  /** Such as EVENT_ABOVE_HEAD, STATE_INVALID, NOT_WRITABLE. */
  code!: string;
}

export class AttachmentDto {
  attachmentId!: string;
  /** Normalised: a base name. */
  filename!: string;
  contentType!: string;
  @ApiProperty({ type: 'integer' })
  sizeBytes!: number;
  /** Of the bytes, in lower-case hex. */
  sha256!: string;
}

export class TaskSummaryDto {
  taskId!: string;
  clientRequestId!: string;
  taskType!: string;
  @ApiProperty({ enum: TASK_STATUSES })
  status!: TaskStatus;
  @ApiProperty({ type: 'object', additionalProperties: true })
  metadata!: Readonly<Record<string, unknown>>;
  /** In the order in which the create had them. */
  attachments!: AttachmentDto[];
  /** Attempts that were begun. */
  @ApiProperty({ type: 'integer' })
  attempt!: number;
  cancellationRequested!: boolean;
  /** While the task waits for an operator, because its stored state does not allow it to go on. */
  aside?: TaskAsideDto;
  /** Of the last TASK_PROGRESS, 0 to 100. */
  progress?: number;
  /** The payload of TASK_SUSPENDED, while the question is open. */
  @ApiProperty({ type: Object, required: false })
  openSuspension?: Readonly<Record<string, unknown>>;
  /** Of TASK_COMPLETED: any JSON. */
  @AnyJson({ required: false })
  result?: unknown;
  /** Of TASK_FAILED. */
  failure?: TaskFailureDto;
  /** The last event's id, `"0"` while there is none. */
  headEventId!: string;
  @ApiProperty({ format: 'date-time' })
  createdAt!: string;
  @ApiProperty({ format: 'date-time' })
  updatedAt!: string;
  @ApiProperty({ format: 'date-time', required: false })
  startedAt?: string;
  @ApiProperty({ format: 'date-time', required: false })
  finishedAt?: string;
}

export class TaskSnapshotDto extends TaskSummaryDto {
  @ApiProperty({ type: 'object', additionalProperties: true })
  input!: Readonly<Record<string, unknown>>;
}

export class TaskPageDto {
  items!: TaskSummaryDto[];
  /** Opaque; null on the last page. */
  @ApiProperty({ type: String, nullable: true })
  nextCursor!: string | null;
}

const EMPTY = new JsonText('{}');

/** The JSON of a `TaskSummaryDto`. Absent optional members are absent, never null. */
export function taskSummary(view: TaskView): string {
  return writeObject(summarised(view));
}

/** The JSON of a `TaskSnapshotDto`. */
export function taskSnapshot(view: TaskView): string {
  return writeObject({ ...summarised(view), input: view.input ?? EMPTY });
}

function summarised(view: TaskView): object {
  return {
    taskId: view.identity.taskId,
    clientRequestId: view.identity.clientRequestId,
    taskType: view.identity.taskType,
    status: view.status,
    metadata: view.metadata ?? EMPTY,
    attachments: view.attachments,
    attempt: view.attempt,
    cancellationRequested: view.cancellationRequested,
    ...(view.asideCode !== null && { aside: { code: view.asideCode } }),
    ...(view.progress !== null && { progress: view.progress }),
    ...(view.openSuspension && { openSuspension: view.openSuspension }),
    ...(view.result && { result: view.result }),
    ...(view.failure && { failure: view.failure }),
    headEventId: String(view.headEventId),
    createdAt: view.createdAt.toISOString(),
    updatedAt: view.updatedAt.toISOString(),
    ...(view.startedAt && { startedAt: view.startedAt.toISOString() }),
    ...(view.finishedAt && { finishedAt: view.finishedAt.toISOString() }),
  };
}
