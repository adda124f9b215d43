import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Request, Response } from 'express';
import { hasVersion } from '../http/entity-tag.js';
import { RangeNotSatisfiable } from '../errors.js';
import type { ByteRange } from './attachment-store.js';
import type { UploadedFile } from './uploaded-file.js';

/**
 * Answers with a file, a range of it, or 304. An uploader may want to attack the browser of another user, on this origin. So the
 * file is a download, its type is never guessed, and a page of it would be sandboxed.
 * @throws RangeNotSatisfiable, and the errors of `open`, before any byte is sent
 */
export async function sendAttachment(
  request: Request,
  response: Response,
  { filename, contentType, sizeBytes, sha256 }: UploadedFile,
  open: (range?: ByteRange) => Promise<Readable>,
): Promise<void> {
  const etag = `"${sha256}"`;
  response.setHeader('ETag', etag);
  response.setHeader('Cache-Control', 'private, no-cache');
  response.setHeader('Accept-Ranges', 'bytes');
  response.setHeader('Content-Disposition', attachmentDisposition(filename));
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('Content-Security-Policy', 'sandbox');
  if (hasVersion(request, etag)) return void response.status(304).end();

  // RFC 9110, 13.1.5: the client would join the part with its part of another version.
  const { range: rangeHeader, 'if-range': ifRange } = request.headers;
  const isWanted = request.method === 'GET' && (ifRange === undefined || ifRange === etag);
  const range = isWanted ? requestedRange(rangeHeader, sizeBytes) : undefined;
  if (range === 'unsatisfiable') throw new RangeNotSatisfiable(sizeBytes);
  const bytes = request.method === 'HEAD' ? undefined : await open(range);
  // What a hand wrote into the row may be no header.
  response.setHeader('Content-Type', /^[\x20-\x7e]+$/.test(contentType) ? contentType : 'application/octet-stream');
  const length = range ? range.last - range.first + 1 : sizeBytes;
  response.setHeader('Content-Length', length);
  if (range) response.status(206).setHeader('Content-Range', `bytes ${range.first}-${range.last}/${sizeBytes}`);
  if (bytes === undefined) return void response.end();
  try {
    await pipeline(bytes, exactly(length), response);
  } finally {
    // A pipeline into a closed response does not begin, and leaves the file open.
    bytes.destroy();
  }
}

/**
 * Sends exactly the announced bytes, or fails. The client would read further bytes as the next answer, and take missing ones from
 * it.
 */
function exactly(length: number): (source: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array> {
  return async function* (source) {
    let left = length;
    for await (const chunk of source) {
      left -= chunk.length;
      if (left < 0) throw new Error(`the AttachmentStore gave more than ${length} bytes`);
      yield chunk;
    }
    if (left > 0) throw new Error(`the AttachmentStore gave ${length - left} of ${length} bytes`);
  };
}

/**
 * The part that a `Range` header asks for: undefined for all of it, `unsatisfiable` when it begins behind the end. A malformed
 * header, another unit, and more than one range are ignored, as RFC 9110, 14.2, permits.
 */
export function requestedRange(header: string | undefined, sizeBytes: number): ByteRange | 'unsatisfiable' | undefined {
  const [, from, to] = /^bytes=(\d{0,15})-(\d{0,15})$/i.exec(header?.trim() ?? '') ?? [];
  if (from === undefined || to === undefined || (from === '' && to === '')) return undefined;
  const first = from === '' ? Math.max(0, sizeBytes - Number(to)) : Number(from);
  const last = from === '' || to === '' ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1);
  if (from !== '' && to !== '' && Number(to) < Number(from)) return undefined;
  return first > last ? 'unsatisfiable' : { first, last };
}

/**
 * `attachment` with the name in both forms of RFC 6266: `filename*` in UTF-8 for all clients of this century, and before it an
 * approximation in ASCII for the others. Quotes, backslashes and per cent signs are left out of the latter, because clients disagree
 * about what they mean there.
 */
export function attachmentDisposition(filename: string): string {
  const ascii = filename.replace(/[^\x20-\x7e]|["\\%]/g, '_');
  if (ascii === filename) return `attachment; filename="${filename}"`;
  return `attachment; filename="${ascii}"; filename*=UTF-8''${extendedValue(filename)}`;
}

/** RFC 8187: the characters that `encodeURIComponent` keeps and that are no attr-char. */
function extendedValue(text: string): string {
  return encodeURIComponent(text).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}
