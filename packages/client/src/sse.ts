import { unreachable } from './errors.js';
import type { Frame } from './followed.js';
import type { Http } from './http.js';
import { each, type Session } from './session.js';
import { linked, Watchdog } from './waiting.js';

/** A stream for each that is followed, by `fetch`: it sends headers and sees the status, which an EventSource does not. */
export function bySse(session: Session, http: Http): Promise<never> {
  return each(session, http, async (followed, signal) => {
    const own = linked(signal);
    const watchdog = new Watchdog(own.abort);
    let retryMs: number | undefined;
    try {
      const asked = { headers: { Accept: 'text/event-stream' }, signal: own.signal };
      const answer = await http.open(followed.streamPath(), asked, (opened) => opened);
      if (answer.status === 204) return followed.finish();
      const reader = answer.body?.getReader();
      // Node 22 does not always end a read whose signal aborts.
      own.signal.addEventListener('abort', () => void reader?.cancel().catch(() => {}));
      for await (const { event, data, retry } of blocks(reader, () => watchdog.heard())) {
        if (retry) retryMs = Number(retry);
        // A proxy may send an empty stream for a service that is away. It has nothing but `retry`.
        if (!data) continue;
        session.heard();
        const frame = JSON.parse(data) as Frame;
        if (event !== 'heartbeat' || frame['next']) session.receive(followed, frame);
      }
      if (!signal.aborted) throw unreachable(undefined, retryMs);
    } catch (error) {
      throw own.signal.aborted ? own.signal.reason : error;
    } finally {
      watchdog.stop();
      own.abort();
    }
  });
}

interface Block {
  readonly event?: string;
  readonly data?: string;
  readonly retry?: string;
}

/** The blocks of a stream, each of which ends with an empty line. */
async function* blocks(
  reader: ReadableStreamDefaultReader<Uint8Array> | undefined,
  heard: () => void,
): AsyncGenerator<Block> {
  const decoder = new TextDecoder();
  let rest = '';
  while (reader) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const found = (rest + decoder.decode(value, { stream: true })).split('\n\n');
    rest = found.pop() ?? '';
    for (const block of found)
      yield Object.fromEntries(block.split('\n').map((line) => line.split(/: ?(.*)/s, 2))) as Block;
  }
}
