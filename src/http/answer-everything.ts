import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { answerClientError, answerOnSocket, type SocketRefusal } from './client-error.js';
import { InvalidRequest } from '../errors.js';
import { leaveContinueToEdge } from './json-edge.js';

const NO_PROXY: SocketRefusal = { status: 405, code: 'METHOD_NOT_ALLOWED', message: 'The method is not allowed here' };

/** Answers in our shape what Node's server would answer in its own, or would just hang up on. */
export function answerEverything(server: Server): void {
  server.on('clientError', answerClientError);
  leaveContinueToEdge(server);
  // RFC 9110, 10.1.1: an expectation that is not understood may be ignored.
  server.on('checkExpectation', (req: IncomingMessage, res: ServerResponse) => server.emit('request', req, res));
  server.on('connect', (_req: IncomingMessage, socket: Duplex) => {
    // The client may hang up during the answer, and an error without a listener ends the process.
    socket.on('error', () => undefined);
    answerOnSocket(socket, NO_PROXY, { Allow: '' });
  });
  Object.assign(server, { requireHostHeader: false });
}

/**
 * Middleware. RFC 9112, 3.2: exactly one `Host`, which also identifies pages of the same host. HTTP/1.0 may lack it. An absolute
 * address has to be one, because Express answers others in a shape of its own.
 */
export function demandHost(
  { rawHeaders, httpVersion, url = '/' }: IncomingMessage,
  _res: ServerResponse,
  next: () => void,
): void {
  if (!url.startsWith('/') && url !== '*' && !URL.canParse(url)) throw new InvalidRequest('The address is malformed.');
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length;
  if (hosts > 1 || (hosts === 0 && httpVersion !== '1.0')) throw new InvalidRequest('The request needs one Host.');
  next();
}
