import { Param, type PipeTransform } from '@nestjs/common';
import { taskIdFrom } from '#protocol/ids.js';

const AS_STORED: PipeTransform<string, string> = { transform: taskIdFrom };

/** The task that the path names, in any spelling of its id. */
export const TaskId = () => Param('taskId', AS_STORED);
