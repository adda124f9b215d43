import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { answerClientError, answerOnSocket, type SocketRefusal } from './client-error.js';
import { InvalidRequest } from '../errors.js';
import { leaveContinueToEdge } from './json-edge.js';

/** A path whose parameter cannot be decoded. */
const MALFORMED = '/api/v1/tasks/%';
const NO_PROXY: SocketRefusal = { status: 405, code: 'METHOD_NOT_ALLOWED', message: 'The method is not allowed here' };

/** Answers in our shape what Node's server would answer in its own, or would just hang up on. */
export function answerEverything(server: Server): void {
  server.on('clientError', answerClientError);
  // Express takes no such address to any middleware, and answers in HTML. It refuses the address in its place in our shape.
  server.prependListener('request', (req: IncomingMessage) => {
    const { url = '/' } = req;
    if (!url.startsWith('/') && url !== '*' && !URL.canParse(url)) req.url = MALFORMED;
  });
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

/** Middleware. RFC 9112, 3.2: exactly one `Host`, which also identifies pages of the same host. HTTP/1.0 may lack it. */
export function demandHost({ rawHeaders, httpVersion }: IncomingMessage, _res: ServerResponse, next: () => void): void {
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length;
  if (hosts > 1 || (hosts === 0 && httpVersion !== '1.0')) throw new InvalidRequest('The request needs one Host.');
  next();
}
