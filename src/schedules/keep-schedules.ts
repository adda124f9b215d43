import { Injectable } from '@nestjs/common';
import { MAX_SCHEDULES } from '#protocol/schedules.js';
import { type AuthContext, ownerOf } from '../auth/auth-context.js';
import { storedPrincipal } from '../auth/stored-principal.js';
import { Database } from '../database/database.js';
import { RequestValidationError } from '../errors.js';
import { Observer } from '../observability/observer.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { CheckInput } from '../tasks/check-input.js';
import { CreationForbidden, UnknownTaskType } from '../tasks/domain/tasks.errors.js';
import { TaskExecutor } from '../tasks/ports/task-executor.js';
import { textOf } from '../tasks/plan-of.js';
import { TaskPolicies } from '../tasks/task-policies.js';
import { lockOwners } from '../uploads/owned-bytes.js';
import { nextAfter, problemOf } from './clock-times.js';
import {
  deleteSchedule,
  putSchedule,
  readNow,
  readSchedules,
  type ScheduleContent,
  type StoredSchedule,
} from './schedule-rows.js';
import { ScheduleNotFound, TooManySchedules } from './schedules.errors.js';

/** What an owner does with its schedules. Those of others do not exist for it. */
@Injectable()
export class KeepSchedules {
  constructor(
    private readonly database: Database,
    private readonly ownership: OwnershipPolicy,
    private readonly executor: TaskExecutor,
    private readonly policies: TaskPolicies,
    private readonly checkInput: CheckInput,
    private readonly observer: Observer,
  ) {}

  /**
   * @throws RequestValidationError when there is no such time, or the input is not as its type wants it; CreationForbidden, UnknownTaskType, TooManySchedules
   * @throws AccessDenied when the attributes of the caller cannot be kept
   */
  put(
    auth: AuthContext,
    name: string,
    content: ScheduleContent,
  ): Promise<{ readonly schedule: StoredSchedule; readonly isNew: boolean }> {
    return this.observer.command('put_schedule', { principalId: auth.subject }, async () => {
      const { taskType } = content;
      const problem = problemOf(content);
      if (problem) throw new RequestValidationError([problem]);
      if (!(await this.ownership.mayCreate(auth, { taskType }))) throw new CreationForbidden();
      if (!this.executor.accepts(taskType)) throw new UnknownTaskType(this.executor.taskTypes);
      await this.policies.load();
      await this.checkInput.execute({ taskType, ...textOf('input', content.inputJson) });
      const nextAt = content.paused ? null : nextAfter(content, await readNow(this.database));
      const room = { nextAt, maxSchedules: MAX_SCHEDULES };
      const put = await this.database.transaction(async (tx) => {
        // Else those that come at once would not count each other.
        await lockOwners(tx, [ownerOf(auth)]);
        return putSchedule(tx, { ...ownerOf(auth), name }, content, storedPrincipal(auth), room);
      });
      if (!put) throw new TooManySchedules();
      return put;
    });
  }

  /** @throws ScheduleNotFound */
  read(auth: AuthContext, name: string): Promise<StoredSchedule> {
    return this.observer.query('read_schedule', { principalId: auth.subject }, async () => {
      const [schedule] = await readSchedules(this.database, { ...ownerOf(auth), name });
      if (!schedule) throw new ScheduleNotFound();
      return schedule;
    });
  }

  /** @throws ScheduleNotFound */
  remove(auth: AuthContext, name: string): Promise<void> {
    return this.observer.command('delete_schedule', { principalId: auth.subject }, async () => {
      if (!(await deleteSchedule(this.database, { ...ownerOf(auth), name }))) throw new ScheduleNotFound();
    });
  }
}
