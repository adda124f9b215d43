import { IsIn } from 'class-validator';
import { INCLUDED } from '#protocol/requests.js';
import { Optional } from '../../../http/optional.decorator.js';

export class ReadTaskDto {
  @Optional()
  @IsIn(INCLUDED)
  include?: (typeof INCLUDED)[number];
}
