import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * For answers that no browser should show. The browser guesses no type, runs, embeds and frames nothing, sends no address to
 * others, and caches nothing, unless a route says otherwise. The further headers of helmet are for pages. The proxy sends HSTS,
 * because it has the certificate.
 */
export const SECURITY_HEADERS = {
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
  // CORS headers, and their absence, depend on the origin.
  Vary: 'Origin',
} as const;

/** For the only page. Swagger UI styles its elements by attributes. */
const DOCS = /^\/docs(\/|$)/i;
const DOCS_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'";

/** Middleware that runs before every handler that answers. */
export function securityHeaders(req: IncomingMessage, res: ServerResponse, next: () => void): void {
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) res.setHeader(name, value);
  if (DOCS.test(req.url?.split('?', 1)[0] ?? '')) res.setHeader('Content-Security-Policy', DOCS_POLICY);
  next();
}
