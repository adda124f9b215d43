import { ArrayMaxSize, ArrayMinSize, Equals, IsArray, IsIn, IsInt, IsString, Max, Min } from 'class-validator';
import { FOLLOW_RIGHTS, FOLLOW_TOKEN_SECONDS, type FollowRight } from '#protocol/follow-tokens.js';
import { TASK_ID, taskIdFrom } from '#protocol/ids.js';
import { ReadAs } from '../http/body-shape.js';
import { Fits } from '../http/fits.decorator.js';
import { Optional } from '../http/optional.decorator.js';

export class MintFollowTokenDto {
  @ReadAs((sent) => (typeof sent === 'string' ? taskIdFrom(sent) : sent))
  @Optional()
  @IsString()
  @Fits(TASK_ID)
  taskId?: string;

  @Optional()
  @Equals(true)
  owner?: true;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(FOLLOW_RIGHTS.length)
  @IsIn(FOLLOW_RIGHTS, { each: true })
  may!: FollowRight[];

  @Optional()
  @IsInt()
  @Min(FOLLOW_TOKEN_SECONDS.minimum)
  @Max(FOLLOW_TOKEN_SECONDS.maximum)
  seconds?: number;
}
