import type { Response } from 'express';

/** Aborts when the client is gone before the response was finished. */
export function goneSignal(response: Response): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  return gone.signal;
}
