import { Module } from '@nestjs/common';
import { TasksModule } from '../tasks/tasks.module.js';
import { KeepSchedules } from './keep-schedules.js';
import { ListSchedules } from './list-schedules.js';
import { RunSchedules } from './run-schedules.js';
import { ScheduleClock } from './schedule-clock.js';
import { SchedulesController } from './schedules.controller.js';

/** Tasks that are created at times of the clock. */
@Module({
  imports: [TasksModule],
  controllers: [SchedulesController],
  providers: [KeepSchedules, ListSchedules, RunSchedules, ScheduleClock],
})
export class SchedulesModule {}
