import type { StoredEvent } from '../tasks/domain/stored-event.js';
import type { Batch } from '../following/batches.js';

/** Events as bytes of a transport, made once: all subscribers share them. */
class Frames {
  /** The last made frames: subscribers of a task are called together, and take the same events one after the other. */
  #last: { readonly first: StoredEvent; readonly last: StoredEvent; readonly bytes: Buffer } | undefined;

  constructor(private readonly frame: (event: StoredEvent) => Buffer) {}

  /** In one piece: it is the number of writes that costs. */
  of({ events, first, last }: Batch): Buffer {
    if (this.#last?.first !== first || this.#last.last !== last) {
      const bytes = first === last ? this.frame(first) : Buffer.concat(events.map(this.frame));
      this.#last = { first, last, bytes };
    }
    return this.#last.bytes;
  }
}

/** Whole WebSocket frames, headers and all: a server's are not masked, so that they are the same for everybody. */
export const WEB_SOCKET_FRAMES = new Frames((event) => textFrame(event.envelope));

/**
 * JSON text escapes CR and LF inside strings, and what a handler's own serialiser put between its members is not there: the
 * payload is one line, so that no payload can end the frame and begin one of its own.
 */
const sseText = (event: StoredEvent) => `id: ${event.eventId}\ndata: ${event.envelope}\n\n`;

export const SSE_FRAMES = new Frames((event) => Buffer.from(sseText(event)));

/** The same as they travel in HTTP/1.1: RFC 9112, 7.1, a chunk for each event. */
export const SSE_CHUNKS = new Frames((event) => {
  const text = sseText(event);
  return Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
});

/** RFC 6455, 5.2: final, text, and the length in as few bytes as it takes. */
function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const start = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(start + length);
  frame[0] = 0x81;
  if (start === 2) frame[1] = length;
  else if (start === 4) frame.writeUInt16BE(length, frame.writeUInt8(126, 1));
  else frame.writeBigUInt64BE(BigInt(length), frame.writeUInt8(127, 1));
  frame.write(text, start);
  return frame;
}
