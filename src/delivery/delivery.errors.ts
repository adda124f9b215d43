import { TaskBridgeError } from '../taskbridge-error.js';

const MESSAGES = {
  binary: 'Frames are text.',
  unknown_action: 'The frame is not an object with a known action.',
  second_subscribe: 'One task per connection without the multiplex subprotocol.',
} as const;

/** A client's frame that is answered with the end of the connection. */
export class FrameRefused extends TaskBridgeError {
  readonly code = 'INVALID_REQUEST';
  readonly kind = 'invalid';
  constructor(readonly problem: keyof typeof MESSAGES) {
    super(MESSAGES[problem]);
  }
}
