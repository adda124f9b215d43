import { Transform } from 'class-transformer';
import { IsIn, IsString } from 'class-validator';
import { TASK_ID, taskIdFrom } from '#protocol/ids.js';
import { Fits } from '../http/fits.decorator.js';
import { Optional } from '../http/optional.decorator.js';

export class RevokeFollowTokensDto {
  @Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? taskIdFrom(value) : value))
  @Optional()
  @IsString()
  @Fits(TASK_ID)
  taskId?: string;

  @Optional()
  @IsIn(['true'])
  owner?: 'true';
}
