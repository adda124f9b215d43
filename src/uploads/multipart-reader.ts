import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import busboy from 'busboy';
import { PayloadTooLarge } from '../errors.js';
import { PartHeads } from './part-heads.js';
import { UploadInvalid } from './uploads.errors.js';

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const WINDOWS_1252 = new TextDecoder('windows-1252');

export interface MultipartLimits {
  readonly maxFiles: number;
  /** The most parts that are no files. */
  readonly maxFields: number;
  /** The most bytes of all these parts together. */
  readonly maxFieldBytes: number;
  /** The most bytes of the whole body, with the text around the parts. */
  readonly maxBodyBytes: number;
}

/** The sender's description of a file. */
export interface FileClaim {
  readonly filename: string | undefined;
  /** Lower case, without parameters. Undefined when the part names none. */
  readonly mimeType: string | undefined;
}

export interface MultipartSink {
  /** Rejects to refuse the body. */
  field(name: string, text: string): Promise<void>;
  /** Consumes the stream, which fails when the body does. Rejects to refuse the body. */
  file(name: string, claim: FileClaim, bytes: Readable): Promise<void>;
}

/**
 * Reads a multipart body from the wire, part by part, and returns when the sink is done with all of them. At the first fault it
 * stops reading, and the streams in the sink fail. When the sink is done with them, it throws the refusal. The rest of the body
 * is then still on the wire.
 * @throws UploadInvalid, PayloadTooLarge, and the errors of the sink
 */
export async function readMultipart(
  request: IncomingMessage,
  limits: MultipartLimits,
  sink: MultipartSink,
): Promise<void> {
  const parser = parserOf(request, limits);
  const heads = new PartHeads(boundaryOf(request));
  let understood = 0;
  const handed: Readable[] = [];
  const parts: Promise<void>[] = [];
  const { promise: over, resolve, reject } = Promise.withResolvers<void>();
  const take = (part: Promise<void>): void => {
    part.catch(reject);
    parts.push(part);
  };

  parser.on('field', (name: string | undefined, text, { valueTruncated }) => {
    understood += 1;
    if (name === undefined) return reject(new UploadInvalid('A part has no name.'));
    if (valueTruncated) return reject(new PayloadTooLarge(limits.maxFieldBytes, 'The fields are too large'));
    take(sink.field(decoded(name), text));
  });
  parser.on('file', (name: string | undefined, bytes, claim) => {
    const head = heads.at(understood);
    understood += 1;
    handed.push(bytes);
    // Its reader gets the error. Without this listener the error would end the process.
    bytes.on('error', () => undefined);
    if (name === undefined) return reject(new UploadInvalid('A part has no name.'));
    const { filename, mimeType } = claim as FileClaim;
    const named = head?.hasExtendedName ? filename : filename && decoded(filename);
    const said = mimeType === 'text/plain' && !head?.saysText ? undefined : mimeType;
    take(sink.file(decoded(name), { filename: named, mimeType: said }, bytes));
  });
  parser.on('filesLimit', () => reject(new UploadInvalid(`At most ${limits.maxFiles} files may be attached.`)));
  parser.on('fieldsLimit', () => reject(new UploadInvalid('The body has too many fields.')));
  parser.on('partsLimit', () => reject(new UploadInvalid('The body has too many parts.')));
  parser.on('error', () => reject(new UploadInvalid('The multipart body is malformed.')));
  parser.on('close', () => {
    if (heads.isExactly(understood)) resolve();
    else reject(new UploadInvalid('The header of a part was not understood.'));
  });

  let bodyBytes = 0;
  const measure = (chunk: Buffer): void => {
    heads.take(chunk);
    bodyBytes += chunk.length;
    if (bodyBytes > limits.maxBodyBytes) reject(new PayloadTooLarge(limits.maxBodyBytes));
  };
  // Not `complete`, which only says that the last byte has arrived: the client may have left before it was read.
  const cut = (): void => {
    if (!request.readableEnded) reject(new UploadInvalid('The body was cut off.'));
  };
  request.on('data', measure).once('close', cut).once('error', cut);
  if (request.destroyed) cut();
  request.pipe(parser);
  try {
    await over;
    await Promise.all(parts);
  } catch (error) {
    request.unpipe(parser);
    parser.destroy();
    for (const bytes of handed) bytes.destroy(new UploadInvalid('The body was refused.'));
    await Promise.allSettled(parts);
    throw error;
  } finally {
    request.off('data', measure).off('close', cut);
  }
}

/**
 * A parameter of a part's head, given as its bytes. Clients send UTF-8, and old ones ISO 8859-1, which browsers read as
 * windows-1252.
 */
function decoded(parameter: string): string {
  const bytes = Buffer.from(parameter, 'latin1');
  try {
    return UTF8.decode(bytes);
  } catch {
    return WINDOWS_1252.decode(bytes);
  }
}

/** Parsed more strictly than by busboy. Where the two differ, the number of parts differs, and the body is refused. */
function boundaryOf({ headers }: IncomingMessage): string {
  const [, quoted, bare] =
    /;[ \t]*boundary=(?:"([^"\\]{1,200})"|([^\s";]{1,200}))/i.exec(headers['content-type'] ?? '') ?? [];
  const boundary = quoted ?? bare;
  if (boundary === undefined) throw new UploadInvalid('The Content-Type has no usable boundary.');
  return boundary;
}

function parserOf(request: IncomingMessage, { maxFiles, maxFields, maxFieldBytes }: MultipartLimits): busboy.Busboy {
  try {
    return busboy({
      headers: request.headers,
      // The bytes of a parameter, each as a character: `decoded` decides what they are.
      defParamCharset: 'latin1',
      preservePath: true,
      // The closing boundary counts as a part, and a field is cut when it reaches the limit, not when it exceeds it.
      limits: { files: maxFiles, fields: maxFields, parts: maxFiles + maxFields + 1, fieldSize: maxFieldBytes + 1 },
    });
  } catch {
    throw new UploadInvalid('The Content-Type has no usable boundary.');
  }
}
