import { Module } from '@nestjs/common';
import { AttachFile } from './attach-file.js';
import { AppendEvents } from './append-events.js';
import { AttachmentsController } from './http/attachments.controller.js';
import { BeginNewTasks } from './begin-new-tasks.js';
import { CancelTask } from './cancel-task.js';
import { CheckInput } from './check-input.js';
import { CheckRoom } from './check-room.js';
import { ClaimTasks } from './claim-tasks.js';
import { CountTasks } from './count-tasks.js';
import { EndAttempt } from './end-attempt.js';
import { EndLostAttempts } from './end-lost-attempts.js';
import { EraseTasks } from './erase-tasks.js';
import { ExtendLease } from './extend-lease.js';
import { FindStuck } from './find-stuck.js';
import { HeldTasks } from './held-tasks.js';
import { PlanSqlTasks } from './plan-sql-tasks.js';
import { ListQuestions } from './list-questions.js';
import { ListTypes } from './list-types.js';
import { ListTasks } from './list-tasks.js';
import { MeasureBacklog } from './measure-backlog.js';
import { TaskPolicies } from './task-policies.js';
import { QueueOrder } from './queue-order.js';
import { ReadAttachment } from './read-attachment.js';
import { ReadOutput } from './read-output.js';
import { PauseType } from './pause-type.js';
import { ReadType } from './read-type.js';
import { TaskTypesController } from './http/task-types.controller.js';
import { ReadTask } from './read-task.js';
import { RetryTask } from './retry-task.js';
import { SubmitAction } from './submit-action.js';
import { SubmitTask } from './submit-task.js';
import { TaskWriter } from './task-writer.js';
import { OwnersController } from './http/owners.controller.js';
import { OverviewController } from './http/overview.controller.js';
import { TasksController } from './http/tasks.controller.js';

const USE_CASES = [
  BeginNewTasks,
  SubmitTask,
  CheckInput,
  CheckRoom,
  ReadTask,
  ReadOutput,
  ReadAttachment,
  ListTasks,
  ListQuestions,
  ListTypes,
  CountTasks,
  FindStuck,
  CancelTask,
  RetryTask,
  EraseTasks,
  ClaimTasks,
  QueueOrder,
  AppendEvents,
  AttachFile,
  EndAttempt,
  EndLostAttempts,
  ExtendLease,
  MeasureBacklog,
  SubmitAction,
  TaskPolicies,
  HeldTasks,
  PlanSqlTasks,
  ReadType,
  PauseType,
];

/** Tasks: their use-cases, and the one writer that changes them. */
@Module({
  // The first has names where the second has ids.
  controllers: [OverviewController, TasksController, TaskTypesController, AttachmentsController, OwnersController],
  providers: [TaskWriter, ...USE_CASES],
  exports: [TaskWriter, ...USE_CASES],
})
export class TasksModule {}
