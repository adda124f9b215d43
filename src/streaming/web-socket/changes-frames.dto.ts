import { IsBoolean, IsIn, IsString, Matches, MaxLength, MinLength, ValidateIf } from 'class-validator';
import { patternOf, TASK_TYPE } from '#protocol/ids.js';
import { MAX_CHANGES_CURSOR_LENGTH, MAX_PRINCIPAL_LENGTH, MAX_REF_LENGTH } from '#protocol/limits.js';
import { TASK_STATUSES, type TaskStatus } from '#protocol/snapshots.js';
import { Shallow } from '../../http/body-shape.js';
import { Optional } from '../../http/optional.decorator.js';
import { IsTags } from '../changes/tags.js';

/** Client → server, with the multiplex subprotocol: follow what changes among tasks. */
export class SubscribeChangesFrameDto {
  @IsIn(['subscribe_changes'])
  action!: 'subscribe_changes';

  /** `null`, absent and empty mean from now on. */
  @ValidateIf((_, value) => value !== undefined && value !== null)
  @IsString()
  @MaxLength(MAX_CHANGES_CURSOR_LENGTH)
  after?: string | null;

  @Optional()
  @IsIn(TASK_STATUSES)
  status?: TaskStatus;

  @Optional()
  @IsBoolean()
  suspended?: boolean;

  @Optional()
  @IsString()
  @Matches(patternOf(TASK_TYPE))
  taskType?: string;

  @Optional()
  @Shallow()
  @IsTags()
  tags?: Record<string, string>;

  @Optional()
  @IsString()
  @MinLength(1)
  @MaxLength(MAX_PRINCIPAL_LENGTH)
  owner?: string;

  @Optional()
  @IsString()
  @MaxLength(MAX_PRINCIPAL_LENGTH)
  tenant?: string;

  @Optional()
  @IsBoolean()
  all?: boolean;

  /** What an error about this frame will repeat. */
  @Optional()
  @IsString()
  @MaxLength(MAX_REF_LENGTH)
  ref?: string;
}

/** Client → server, with the multiplex subprotocol: follow the feed no longer. */
export class UnsubscribeChangesFrameDto {
  @IsIn(['unsubscribe_changes'])
  action!: 'unsubscribe_changes';
}
