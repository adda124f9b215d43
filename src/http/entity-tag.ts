import type { IncomingMessage } from 'node:http';

/**
 * Whether the client has this very version: `If-None-Match` names it. Not `request.fresh`, which obeys a `Cache-Control:
 * no-cache` of the client. `fetch` adds that to every request with an `If-None-Match`, and would never get 304.
 */
export function hasVersion({ headers }: IncomingMessage, etag: string): boolean {
  const given = headers['if-none-match'];
  if (given === undefined) return false;
  // A weak comparison (RFC 9110, 13.1.2). Our tags have no commas in them.
  return given.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
}
