import type { StoredEvent } from '../tasks/stored-event.js';

/** Events as bytes of a transport, made once: all subscribers share them. */
class Frames {
  /** As long as the event is there, no longer. */
  readonly #ofOne = new WeakMap<StoredEvent, Buffer>();
  /** What was made of several last: the subscribers of a task are woken together, and take the same one after the other. */
  #ofSeveral: { readonly first: StoredEvent; readonly last: StoredEvent; readonly bytes: Buffer } | undefined;

  constructor(private readonly frame: (event: StoredEvent) => Buffer) {}

  /** Of events that follow each other, at least one, in one piece: it is the number of writes that costs. */
  of(first: StoredEvent, last: StoredEvent, events: readonly StoredEvent[]): Buffer {
    if (first === last) return this.ofOne(first);
    if (this.#ofSeveral?.first !== first || this.#ofSeveral.last !== last) {
      const bytes = Buffer.concat(events.map((event) => this.ofOne(event)));
      this.#ofSeveral = { first, last, bytes };
    }
    return this.#ofSeveral.bytes;
  }

  private ofOne(event: StoredEvent): Buffer {
    let frame = this.#ofOne.get(event);
    if (!frame) this.#ofOne.set(event, (frame = this.frame(event)));
    return frame;
  }
}

/** Whole WebSocket frames, headers and all: a server's are not masked, so that they are the same for everybody. */
export const WEB_SOCKET_FRAMES = new Frames((event) => textFrame(Buffer.from(event.envelope)));

/**
 * JSON text escapes CR and LF inside strings, and what a handler's own serialiser put between its members is not there: the
 * payload is one line, so that no payload can end the frame and begin one of its own.
 */
export const SSE_FRAMES = new Frames((event) => Buffer.from(`id: ${event.eventId}\ndata: ${event.envelope}\n\n`));

/** RFC 6455, 5.2: final, text, and the length in as few bytes as it takes. */
function textFrame(text: Buffer): Buffer {
  const header = Buffer.alloc(text.length < 126 ? 2 : text.length < 65_536 ? 4 : 10);
  header[0] = 0x81;
  if (header.length === 2) header[1] = text.length;
  else if (header.length === 4) header.writeUInt16BE(text.length, header.writeUInt8(126, 1));
  else header.writeBigUInt64BE(BigInt(text.length), header.writeUInt8(127, 1));
  return Buffer.concat([header, text]);
}
