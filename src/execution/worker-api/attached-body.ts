import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { UnsupportedMediaType } from '../../errors.js';
import { isMultipart } from '../../http/json-edge.js';
import { UploadInvalid } from '../../uploads/uploads.errors.js';

const ATTACH = /^\/worker\/v1\/tasks\/[^/?]+\/attachments\/?(\?|$)/i;
/** curl and Python's urllib say so of every body, unless told. */
const UNTOLD = 'application/x-www-form-urlencoded';

/** For the edge: the requests whose body is the file of a worker. */
export function takesFile(req: IncomingMessage): boolean {
  return req.method === 'POST' && ATTACH.test(req.url ?? '');
}

/** The type that the worker declares; undefined when it declares none. @throws UnsupportedMediaType for a form */
export function declaredType(req: IncomingMessage): string | undefined {
  if (isMultipart(req)) throw new UnsupportedMediaType('The body has to be the bytes of the file, and no form');
  const type = (req.headers['content-type']?.split(';', 1)[0] ?? '').trim().toLowerCase();
  return type === '' || type === UNTOLD ? undefined : type;
}

/** The bytes of the body. The stream fails when the body is cut off. */
export function bodyOf(req: IncomingMessage): Readable {
  return Readable.from(chunksOf(req), { objectMode: false });
}

async function* chunksOf(req: IncomingMessage): AsyncGenerator<Buffer> {
  try {
    // Left open: a refusal is answered on the same connection.
    for await (const chunk of req.iterator({ destroyOnReturn: false })) yield chunk as Buffer;
  } catch {
    throw new UploadInvalid('The body was cut off.');
  }
}
