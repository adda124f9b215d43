import { randomUUID } from 'node:crypto';
import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ErrorCode } from '#protocol/errors.js';
import { errorBody } from './error-body.js';
import { SECURITY_HEADERS } from './security-headers.js';

export interface SocketRefusal {
  readonly status: number;
  readonly code: ErrorCode;
  readonly message: string;
}

const MALFORMED: SocketRefusal = {
  status: 400,
  code: 'INVALID_REQUEST',
  message: 'The request is not well-formed HTTP',
};

const CLIENT_ERRORS: Readonly<Record<string, SocketRefusal>> = {
  HPE_HEADER_OVERFLOW: { status: 431, code: 'INVALID_REQUEST', message: 'The headers are too large' },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    status: 413,
    code: 'PAYLOAD_TOO_LARGE',
    message: 'The chunk extensions are too large',
  },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, code: 'INVALID_REQUEST', message: 'The request did not arrive in time' },
};

/**
 * For the 'clientError' event of a Node HTTP server, which comes before there is a request to answer: the refusal in the one
 * shape, written by hand, and the end of the connection. Never throws. It only closes a broken connection, and one with an answer
 * under way, because the client would read a second answer as part of the first.
 */
export function answerClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  const { code = '' } = error;
  const refusal = CLIENT_ERRORS[code] ?? (code.startsWith('HPE_') ? MALFORMED : undefined);
  // Found as Node's own handler does. Node has no public way to the response in flight on a socket.
  const { _httpMessage: inFlight } = socket as Duplex & { _httpMessage?: ServerResponse | null };
  if (refusal === undefined || !socket.writable || inFlight?.headersSent) return void socket.destroy();
  answerOnSocket(socket, refusal);
}

/** Writes the refusal by hand, where there is no response to write it with, and ends the connection. */
export function answerOnSocket(
  socket: Duplex,
  { status, code, message }: SocketRefusal,
  headers: Readonly<Record<string, string>> = {},
): void {
  const correlationId = randomUUID();
  const body = JSON.stringify(errorBody({ code, message, details: {} }, correlationId));
  const answer = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    ...Object.entries({ ...SECURITY_HEADERS, ...headers }).map(([name, value]) => `${name}: ${value}`),
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Correlation-Id: ${correlationId}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
  socket.end(answer, () => socket.destroy());
}
