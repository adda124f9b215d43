import { Readable } from 'node:stream';
import { DeadlineExceeded, withinDeadline } from '../deadline.js';
import { asHostCode } from '../observability/host-code.js';
import type { ByteRange } from '../uploads/attachment-store.js';
import { anything } from './host-answers.js';
import { type Check, type HostCalls, isObject, kindOf, Nonsense, PATIENCE_MS } from './host-calls.js';
import { refusalOfHost } from './host-refusal.js';

/** How exact the patience with a store is. */
const LOOK_MS = 250;

const ignore = () => undefined;

/**
 * `put` lasts as long as the client sends. Bounded is how long the store takes nothing of what is there, and how long it takes
 * after the last byte. It has answered when it says so and has read everything.
 */
export async function put(calls: HostCalls, attachmentId: string, bytes: Readable): Promise<void> {
  const ended = Promise.withResolvers<void>();
  const stuck = Promise.withResolvers<never>();
  for (const { promise } of [ended, stuck]) promise.catch(ignore);
  let sourceError: Error | undefined;
  // Undefined while it is the client's turn.
  let storesTurnSince: number | undefined = performance.now();

  async function* relayed(): AsyncGenerator<Buffer> {
    const iterator = (bytes as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    try {
      for (;;) {
        storesTurnSince = undefined;
        const next = await iterator.next().catch((error: unknown) => {
          sourceError = error as Error;
          throw error;
        });
        storesTurnSince = performance.now();
        if (next.done === true) return ended.resolve();
        yield next.value;
      }
    } catch (error) {
      ended.reject(error);
      throw error;
    } finally {
      ended.reject(new Nonsense('the bytes were not read to their end'));
    }
  }

  // Whatever a listener of the host's throws fails this stream, which is the upload's own.
  const relay = asHostCode({ port: calls.port, method: 'put' }, () => Readable.from(relayed(), { objectMode: false }));
  relay.on('error', ignore);
  const look = setInterval(() => {
    if (storesTurnSince === undefined || performance.now() - storesTurnSince < PATIENCE_MS) return;
    stuck.reject(calls.failed('put', new DeadlineExceeded(PATIENCE_MS)));
    clearInterval(look);
  }, LOOK_MS);
  const stored = calls.ask('put', [attachmentId, relay], anything, {
    patienceMs: Number.POSITIVE_INFINITY,
    excuse: () => sourceError,
  });
  const read = ended.promise.catch((error: unknown) => {
    throw sourceError ?? calls.failed('put', error);
  });
  try {
    await Promise.race([Promise.all([stored, read]), stuck.promise]);
  } catch (error) {
    relay.destroy();
    // What it removes of its own now would otherwise meet with the `remove` that follows.
    if (sourceError) await withinDeadline(PATIENCE_MS, stored).catch(ignore);
    throw error;
  } finally {
    clearInterval(look);
    stored.catch(ignore);
  }
}

type Source = AsyncIterable<unknown> & { destroy?(): unknown; on?(event: 'error', listener: () => void): unknown };

/** With its first bytes at hand, so that a store that cannot read them is refused before an answer has begun. */
export async function open(calls: HostCalls, attachmentId: string, range?: ByteRange): Promise<Readable> {
  const call = { port: calls.port, method: 'open' };
  const source = await calls.ask('open', [attachmentId, range && { ...range }], aStream, { late: discard });
  const iterator = source[Symbol.asyncIterator]();
  source.on?.('error', ignore);
  const next = async (): Promise<Uint8Array | undefined> => {
    try {
      const { done, value } = await withinDeadline(
        PATIENCE_MS,
        asHostCode(call, async () => iterator.next()),
      );
      return done === true ? undefined : bytesOf(value);
    } catch (error) {
      discard(source);
      throw refusalOfHost(error) ?? calls.failed('open', error);
    }
  };

  async function* checked(chunk: Uint8Array | undefined): AsyncGenerator<Uint8Array> {
    for (let bytes = chunk; bytes !== undefined; bytes = await next()) yield bytes;
  }

  const relay = Readable.from(checked(await next()), { objectMode: false });
  return relay.once('close', () => discard(source));
}

const aStream: Check<Source> = (answer) => {
  const iterates = isObject(answer) && typeof (answer as Partial<Source>)[Symbol.asyncIterator] === 'function';
  if (!iterates) throw new Nonsense(`${kindOf(answer)} where a stream belongs`);
  return answer as Source;
};

function bytesOf(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  if (typeof chunk === 'string') return Buffer.from(chunk);
  throw new Nonsense(`${kindOf(chunk)} in a stream where bytes belong`);
}

/** Also of what is no stream, or fails to go. */
function discard(stream: unknown): void {
  try {
    if (isObject(stream)) (stream as Partial<Source>).destroy?.();
  } catch {
    // There is nothing left to let go of.
  }
}
