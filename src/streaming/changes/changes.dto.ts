import { Transform } from 'class-transformer';
import { IsBoolean, IsIn, IsInt, IsString, Max, MaxLength, Min, ValidateBy, ValidateIf } from 'class-validator';
import { TASK_TYPE } from '#protocol/ids.js';
import { MAX_CHANGES_CURSOR_LENGTH, POLL_WAIT_MS } from '#protocol/limits.js';
import { TASK_STATUSES, type TaskStatus } from '#protocol/snapshots.js';
import { isName } from '../../auth/auth-context.js';
import { Shallow } from '../../http/body-shape.js';
import { Fits } from '../../http/fits.decorator.js';
import { Optional } from '../../http/optional.decorator.js';
import { integerText } from '../../http/query-text.js';
import { IsTags, jsonIn } from './tags.js';

const booleanText = ({ value }: { value: unknown }) => (value === 'true' ? true : value === 'false' ? false : value);

/** The id of a principal or a tenant, also of a host. PostgreSQL would refuse U+0000. */
const IsName = () =>
  ValidateBy({
    name: 'isName',
    validator: {
      validate: (value: unknown) => typeof value === 'string' && isName(value),
      defaultMessage: () => '$property must be 1 to 128 characters without control characters',
    },
  });

/** What a feed shows, in a query or a frame. */
export class ChangesDto {
  @Optional()
  @IsIn(TASK_STATUSES)
  status?: TaskStatus;

  @Optional()
  @IsBoolean()
  suspended?: boolean;

  @Optional()
  @IsString()
  @Fits(TASK_TYPE)
  taskType?: string;

  @Optional()
  @Shallow()
  @IsTags()
  tags?: Record<string, string>;

  @Optional()
  @IsName()
  owner?: string;

  @Optional()
  @ValidateIf((_, value) => value !== '')
  @IsName()
  tenant?: string;

  @Optional()
  @IsBoolean()
  all?: boolean;
}

/** The same in a query, where everything is text. */
class ChangesQueryDto extends ChangesDto {
  @Transform(booleanText)
  override suspended?: boolean;

  @Transform(({ value }: { value: unknown }) => jsonIn(value))
  override tags?: Record<string, string>;

  @Transform(booleanText)
  override all?: boolean;

  @Optional()
  @IsString()
  @MaxLength(MAX_CHANGES_CURSOR_LENGTH)
  after?: string;
}

export class PollChangesDto extends ChangesQueryDto {
  @Transform(integerText)
  @IsInt()
  @Min(POLL_WAIT_MS.minimum)
  @Max(POLL_WAIT_MS.maximum)
  waitTimeoutMs: number = POLL_WAIT_MS.default;
}

export class StreamChangesDto extends ChangesQueryDto {
  /** A follow token, which the guard has judged. */
  @Optional()
  @IsString()
  token?: string;
}
