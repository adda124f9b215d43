import { Transform } from 'class-transformer';
import { IsIn, IsString, Matches } from 'class-validator';
import { patternOf, TASK_ID, taskIdFrom } from '#protocol/ids.js';
import { Optional } from '../http/optional.decorator.js';

const A_TASK_ID = patternOf(TASK_ID);

export class RevokeFollowTokensDto {
  @Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? taskIdFrom(value) : value))
  @Optional()
  @IsString()
  @Matches(A_TASK_ID)
  taskId?: string;

  @Optional()
  @IsIn(['true'])
  owner?: 'true';
}
