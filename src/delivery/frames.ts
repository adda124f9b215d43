import type { StoredEvent } from '../tasks/stored-event.js';

// Every event is framed once per transport; all its subscribers share the bytes. Kept as long as the event is, no longer.

const webSocketFrames = new WeakMap<StoredEvent, Buffer>();
const sseFrames = new WeakMap<StoredEvent, Buffer>();

/** A whole WebSocket frame, header and all: a server's are not masked, so that it is the same for everybody. */
export function webSocketFrame(event: StoredEvent): Buffer {
  let frame = webSocketFrames.get(event);
  if (!frame) webSocketFrames.set(event, (frame = textFrame(Buffer.from(event.envelope))));
  return frame;
}

/** RFC 6455, 5.2: final, text, and the length in as few bytes as it takes. */
function textFrame(text: Buffer): Buffer {
  const header = Buffer.alloc(text.length < 126 ? 2 : text.length < 65_536 ? 4 : 10);
  header[0] = 0x81;
  if (header.length === 2) header[1] = text.length;
  else if (header.length === 4) header.writeUInt16BE(text.length, header.writeUInt8(126, 1));
  else header.writeBigUInt64BE(BigInt(text.length), header.writeUInt8(127, 1));
  return Buffer.concat([header, text]);
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
