import { IsString, MaxLength } from 'class-validator';
import { MAX_PRINCIPAL_LENGTH } from '#protocol/limits.js';
import { Optional } from '../../../http/optional.decorator.js';

export class EraseOwnerDto {
  @Optional()
  @IsString()
  @MaxLength(MAX_PRINCIPAL_LENGTH)
  tenant?: string;
}
