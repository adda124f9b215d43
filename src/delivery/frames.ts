import type { StoredEvent } from '../tasks/stored-event.js';

// Every event is framed once per transport; all its subscribers share the bytes. Kept as long as the event is, no longer.

const webSocketFrames = new WeakMap<StoredEvent, Buffer>();
const sseFrames = new WeakMap<StoredEvent, Buffer>();

export function webSocketFrame(event: StoredEvent): Buffer {
  let frame = webSocketFrames.get(event);
  if (!frame) webSocketFrames.set(event, (frame = Buffer.from(event.envelope)));
  return frame;
}

/**
 * JSON text escapes CR and LF inside strings, and what a handler's own serialiser put between its members is not there: the
 * payload is one line, so that no payload can end the frame and begin one of its own.
 */
export function sseFrame(event: StoredEvent): Buffer {
  let frame = sseFrames.get(event);
  if (!frame) sseFrames.set(event, (frame = Buffer.from(`id: ${event.eventId}\ndata: ${event.envelope}\n\n`)));
  return frame;
}
