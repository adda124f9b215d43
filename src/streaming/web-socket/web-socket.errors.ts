import { ProtocolError } from '../../errors.js';

const MESSAGES = {
  binary: 'Frames are text.',
  unknown_action: 'The frame is not an object with a known action.',
  second_subscribe: 'One task per connection without the multiplex subprotocol.',
  multiplex_only: 'This belongs to the multiplex subprotocol.',
} as const;

/** A frame of a client that ends its connection. */
export class FrameRefused extends ProtocolError {
  readonly code = 'INVALID_REQUEST';
  constructor(readonly problem: keyof typeof MESSAGES) {
    super(MESSAGES[problem]);
  }
}

/** A second subscribe to what this connection follows; the first one continues. */
export class AlreadySubscribed extends ProtocolError {
  readonly code = 'ALREADY_SUBSCRIBED';
  constructor(followed: 'the task' | 'changes') {
    super(`This connection follows ${followed} already.`);
  }
}

/** An unsubscribe from a task that this connection does not follow, perhaps because it just ended. */
export class NotSubscribed extends ProtocolError {
  readonly code = 'NOT_SUBSCRIBED';
  constructor() {
    super('This connection does not follow the task.');
  }
}
