import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Enough for an honest client that sends a too large body to its end before it reads. */
const MAX_DISCARDED_BYTES = 16 * 1024 * 1024;

/** From the answer to the end of the socket, when the client neither finishes nor hangs up. */
const LINGER_MILLISECONDS = 1000;

const closing = new WeakSet<Socket>();

export function isClosing(socket: Socket): boolean {
  return closing.has(socket);
}

/**
 * Closes the connection after the answer to `req`, in such a way that a client which still sends its body gets the answer.
 *
 * Node would destroy the socket right after the answer; the kernel then resets the connection for the bytes nobody read, and the
 * reset overtakes the answer. So the rest of the body is discarded, the server's side of the connection is ended with the answer,
 * and the socket is destroyed when the body is over or the time is up. After the discarded bytes the service stops reading: an
 * endless body costs only a socket, for the linger time. (`lingering_close` of nginx; `socket.destroySoon` is what Node's server
 * calls after the answer.)
 */
export function lingerAfterAnswer(req: IncomingMessage, res: ServerResponse): void {
  const { socket } = req;
  if (closing.has(socket)) return;
  closing.add(socket);
  res.setHeader('Connection', 'close');
  discard(req);

  const destroySoon = socket.destroySoon.bind(socket);
  let lingering = false;
  socket.destroySoon = () => {
    if (req.readableEnded || lingering) return destroySoon();
    lingering = true;
    socket.end();
    req.once('end', destroySoon);
    const deadline = setTimeout(() => socket.destroy(), LINGER_MILLISECONDS);
    socket.once('close', () => clearTimeout(deadline));
  };
}

function discard(req: IncomingMessage): void {
  let discardedBytes = 0;
  req.on('data', (chunk: Buffer) => {
    discardedBytes += chunk.length;
    if (discardedBytes > MAX_DISCARDED_BYTES) req.pause();
  });
  req.resume();
}
