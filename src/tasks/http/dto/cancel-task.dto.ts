import { MAX_CANCEL_REASON_LENGTH } from '#protocol/limits.js';
import { Reason } from '../../../http/reason.decorator.js';

export class CancelTaskDto {
  @Reason(MAX_CANCEL_REASON_LENGTH)
  reason?: string;
}
