import { unreachable } from './errors.js';
import type { Followed, Frame } from './followed.js';
import { FIRST_BYTE_MS, type Http } from './http.js';
import { pollOnce } from './poll.js';
import { each, MAX_OPEN, ROUND_MS, type Session, SILENCE_MS } from './session.js';
import { linked, pause, Watchdog } from './waiting.js';

/** A stream for each that is followed, by `fetch`: it sends headers and sees the status, which an EventSource does not. */
export function bySse(session: Session, http: Http): Promise<never> {
  let open = 0;
  return each(session, async (followed, signal) => {
    while (open >= MAX_OPEN && !signal.aborted) {
      await pollOnce(session, http, followed, 0, signal);
      await pause(ROUND_MS, signal);
    }
    open += 1;
    try {
      await stream(session, http, followed, signal);
    } finally {
      open -= 1;
    }
  });
}

async function stream(session: Session, http: Http, followed: Followed, signal: AbortSignal): Promise<void> {
  const own = linked(signal);
  const watchdog = new Watchdog(FIRST_BYTE_MS, () => own.abort(unreachable('The stream is silent.')));
  let retryMs: number | undefined;
  try {
    const answer = await http.open(followed.streamPath(), {
      headers: { Accept: 'text/event-stream' },
      signal: own.signal,
    });
    if (answer.status === 204) return followed.finish();
    if (!answer.body) throw unreachable('This runtime does not stream.');
    for await (const { event, data, retry } of blocks(answer.body, () => watchdog.heard(SILENCE_MS))) {
      retryMs = retry ?? retryMs;
      // A proxy may send an empty stream for a service that is away. It has nothing but `retry`.
      if (data === undefined) continue;
      session.heard();
      const frame = JSON.parse(data) as Frame;
      if (event !== 'heartbeat' || frame['next']) session.receive(followed, frame);
    }
    if (session.followed.get(followed.key) === followed) throw unreachable('The stream ended.', retryMs);
  } catch (error) {
    throw own.signal.aborted ? own.signal.reason : error;
  } finally {
    watchdog.stop();
    own.abort();
    own.unlink();
  }
}

interface Block {
  readonly event?: string;
  readonly data?: string;
  readonly retry?: number;
}

/** The blocks of a stream, each of which ends with an empty line. */
async function* blocks(body: ReadableStream<Uint8Array>, heard: () => void): AsyncGenerator<Block> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const found = (rest + decoder.decode(value, { stream: true })).split('\n\n');
    rest = found.pop() ?? '';
    for (const block of found) {
      const { event, data, retry } = Object.fromEntries(block.split('\n').map((line) => line.split(/: ?(.*)/s, 2)));
      yield { event, data, ...(retry && { retry: Number(retry) }) };
    }
  }
}
