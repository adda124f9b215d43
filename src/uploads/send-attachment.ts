import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Request, Response } from 'express';
import { hasVersion } from '../http/entity-tag.js';
import { RangeNotSatisfiable } from '../errors.js';
import type { ByteRange } from './attachment-store.js';
import { requestedRange } from './byte-range.js';
import { attachmentDisposition } from './content-disposition.js';
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
