import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Whether `error` comes from a client that hung up before it had all of its answer. An answer that a fault of ours cut off has that
 * fault. A pipeline reports a premature close in two more cases: when the client leaves right after the last byte, and when a
 * pipelined answer never got its turn on the connection.
 */
export function clientLeft(req: IncomingMessage, res: ServerResponse, error: unknown): boolean {
  if (!req.socket.destroyed && !res.destroyed) return false;
  const isPremature = codeOf(error) === 'ERR_STREAM_PREMATURE_CLOSE';
  const hadNoTurn = res.socket === null && !res.writableFinished;
  if (isPremature && hadNoTurn) return true;
  return res.destroyed && !res.errored && (isPremature || !res.writableFinished);
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null | undefined)?.code;
}
