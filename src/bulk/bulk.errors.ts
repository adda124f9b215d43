import { ProtocolError } from '../errors.js';

export class BulkNotFound extends ProtocolError {
  readonly code = 'NOT_FOUND';
  constructor() {
    super('There is no such bulk.');
  }
}
