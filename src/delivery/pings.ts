import type { WebSocket } from 'ws';

const PING_EVERY_MS = 20_000;
const PONG_DEADLINE_MS = 10_000;

/** Calls `lost` when the peer vanished without a word (a phone in a tunnel): it answers no ping. Answers how to stop. */
export function pingUntilLost(socket: WebSocket, lost: () => void): () => void {
  let deadline: NodeJS.Timeout | undefined;
  const pings = setInterval(() => {
    clearTimeout(deadline);
    deadline = setTimeout(lost, PONG_DEADLINE_MS);
    socket.ping();
  }, PING_EVERY_MS);
  socket.on('pong', () => clearTimeout(deadline));
  return () => {
    clearInterval(pings);
    clearTimeout(deadline);
  };
}
