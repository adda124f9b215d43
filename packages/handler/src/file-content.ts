import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Refused } from './holder-errors.js';
import { MAX_NAME_LENGTH } from '#protocol/limits.js';
import type { FileBytes } from './task-handler.js';

/** A call without an answer is made again, so the bytes can be read again. */
export interface FileContent {
  readonly sizeBytes: number;
  open(): Readable;
}

const MEDIA_TYPE = /^[\w!#$&^.+-]{1,127}\/[\w!#$&^.+-]{1,127}$/;

/** @throws Refused */
export function checkFile(filename: unknown, mediaType: unknown): void {
  if (typeof filename !== 'string' || filename === '' || filename.length > MAX_NAME_LENGTH || !filename.isWellFormed())
    throw refused(`Its name must be text of 1 to ${MAX_NAME_LENGTH} characters.`);
  if (mediaType !== undefined && (typeof mediaType !== 'string' || !MEDIA_TYPE.test(mediaType)))
    throw refused('mediaType must be a media type such as image/png, without parameters.');
}

/**
 * Calls `use` with bytes that stay the same. A stream is written to a temporary file first, which goes afterwards.
 * @throws Refused, what the stream fails with, what `use` throws
 */
export async function withContent<T>(
  bytes: FileBytes,
  signal: AbortSignal,
  use: (content: FileContent) => Promise<T>,
): Promise<T> {
  if (bytes instanceof Blob) {
    return use({ sizeBytes: bytes.size, open: () => Readable.fromWeb(bytes.stream() as never) });
  }
  if (typeof bytes === 'string' || bytes instanceof Uint8Array) {
    // A copy: the handler may write on.
    const kept = Buffer.from(bytes as Uint8Array);
    return use({ sizeBytes: kept.length, open: () => Readable.from([kept], { objectMode: false }) });
  }
  if (typeof (bytes as Partial<AsyncIterable<unknown>> | null)?.[Symbol.asyncIterator] !== 'function')
    throw refused('Its bytes must be text, a Uint8Array, a Blob or a stream.');
  const directory = await mkdtemp(join(tmpdir(), `taskbridge-${process.pid}-`));
  try {
    const path = join(directory, 'bytes');
    await pipeline(bytes, createWriteStream(path), { signal });
    const { size } = await stat(path);
    return await use({ sizeBytes: size, open: () => createReadStream(path) });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** `cause`: the refusal of the service. */
export function refused(why: string, cause?: unknown): Refused {
  return new Refused('ATTACHMENT_REFUSED', `A file was refused. ${why}`, { cause });
}
