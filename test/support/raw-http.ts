import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  /** The headers by their lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** All bytes of the connection, as they came. */
  readonly raw: string;
}

/** Writes bytes to a loopback port as they are. Returns the bytes that came until the server ended the connection. */
export async function exchange(port: number, ...pieces: readonly (string | Uint8Array)[]): Promise<RawAnswer> {
  const socket = connect(port, '127.0.0.1');
  for (const piece of pieces) socket.write(piece);
  return answerOn(socket);
}

export async function answerOn(socket: Socket): Promise<RawAnswer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'end');
  return parsed(Buffer.concat(chunks).toString());
}

/** A request head for HTTP/1.1 that has the connection closed after the answer. */
export function head(requestLine: string, headers: Readonly<Record<string, string | number>> = {}): string {
  const lines = Object.entries({ Host: 'localhost', Connection: 'close', ...headers }).map(([k, v]) => `${k}: ${v}`);
  return [`${requestLine} HTTP/1.1`, ...lines, '', ''].join('\r\n');
}

export function chunk(content: string | Uint8Array): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}

/** What chunks contain, to the last one. */
export function dechunked(body: string): string {
  let bytes = Buffer.from(body);
  let content = '';
  for (;;) {
    const end = bytes.indexOf('\r\n');
    const length = Number.parseInt(bytes.toString('latin1', 0, end), 16);
    if (Number.isNaN(length)) throw new Error(`no chunk begins with ${bytes.toString('latin1', 0, 20)}`);
    if (length === 0) return content;
    const next = end + 2 + length;
    if (bytes.toString('latin1', next, next + 2) !== '\r\n') throw new Error('a chunk is not as long as it says');
    content += bytes.toString('utf8', end + 2, next);
    bytes = bytes.subarray(next + 2);
  }
}

export const LAST_CHUNK = '0\r\n\r\n';

function parsed(raw: string): RawAnswer {
  const final = raw.replace(/^(?:HTTP\/1\.1 1\d\d .*\r\n\r\n)+/, '');
  const [top = '', ...rest] = final.split('\r\n\r\n');
  const [statusLine = '', ...lines] = top.split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  );
  return { status: Number(statusLine.split(' ')[1]), headers, body: rest.join('\r\n\r\n'), raw };
}
