import { Module } from '@nestjs/common';
import { TasksModule } from '../tasks/tasks.module.js';
import { BulkClock } from './bulk-clock.js';
import { BulkController } from './bulk.controller.js';
import { RunBulks } from './run-bulks.js';
import { StartBulk } from './start-bulk.js';

/** The same done to many tasks. */
@Module({ imports: [TasksModule], controllers: [BulkController], providers: [StartBulk, RunBulks, BulkClock] })
export class BulkModule {}
