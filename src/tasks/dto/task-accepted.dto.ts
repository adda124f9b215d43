import { TASK_STATUSES, type TaskStatus } from '../domain/task.js';
import { ApiProperty } from '@nestjs/swagger';

export class TaskAcceptedDto {
  /** A UUIDv7 in text form. */
  taskId!: string;
  /** `ACCEPTED` for a new task, the current status for a repeat. */
  @ApiProperty({ enum: TASK_STATUSES })
  status!: TaskStatus;
  clientRequestId!: string;
  /** Whether the task was there before. */
  deduplicated!: boolean;
}
