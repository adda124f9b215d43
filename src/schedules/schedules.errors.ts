import { MAX_SCHEDULES } from '#protocol/schedules.js';
import { ProtocolError, TooManyRequests } from '../errors.js';

export class ScheduleNotFound extends ProtocolError {
  readonly code = 'NOT_FOUND';
  constructor() {
    super('There is no such schedule.');
  }
}

export class TooManySchedules extends TooManyRequests {
  constructor() {
    super(60, `This principal may have ${MAX_SCHEDULES} schedules.`);
  }
}
