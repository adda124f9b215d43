import { IsIn, IsString, MaxLength, ValidateIf } from 'class-validator';
import { MAX_CHANGES_CURSOR_LENGTH, MAX_REF_LENGTH } from '#protocol/limits.js';
import { Optional } from '../../http/optional.decorator.js';
import { ChangesDto } from '../changes/changes.dto.js';

/** Client → server, with the multiplex subprotocol: follow what changes among tasks. */
export class SubscribeChangesFrameDto extends ChangesDto {
  @IsIn(['subscribe_changes'])
  action!: 'subscribe_changes';

  /** `null`, absent and empty mean from now on. */
  @ValidateIf((_, value) => value !== undefined && value !== null)
  @IsString()
  @MaxLength(MAX_CHANGES_CURSOR_LENGTH)
  after?: string | null;

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
