import { ApiProperty } from '@nestjs/swagger';
import { IsString, MaxLength, MinLength } from 'class-validator';
import { Optional } from '../../http/optional.decorator.js';

export class CancelTaskDto {
  /** Becomes the reason of TASK_CANCELLED. Defaults to `cancelled_by_user`. */
  @Optional()
  @IsString()
  @MinLength(1)
  @MaxLength(1024)
  reason?: string;
}

export class TaskCancelledDto {
  taskId!: string;
  @ApiProperty({ enum: ['CANCELLATION_REQUESTED', 'ALREADY_TERMINAL'] })
  status!: 'CANCELLATION_REQUESTED' | 'ALREADY_TERMINAL';
}
