import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * For answers that no browser is meant to show: it guesses no type, runs, embeds and frames nothing, tells nobody the address, and
 * keeps nothing, unless a route says otherwise. What a bundle like helmet sends besides is for pages. HSTS is for the proxy to send,
 * which has the certificate.
 */
export const SECURITY_HEADERS = {
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
  // CORS headers depend on it, also by their absence.
  Vary: 'Origin',
} as const;

/** The one page there is. Swagger UI styles its elements by attributes. */
const DOCS = /^\/docs(\/|$)/i;
const DOCS_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'";

/** Middleware that stands before all that answers. */
export function securityHeaders(req: IncomingMessage, res: ServerResponse, next: () => void): void {
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) res.setHeader(name, value);
  if (DOCS.test(req.url?.split('?', 1)[0] ?? '')) res.setHeader('Content-Security-Policy', DOCS_POLICY);
  next();
}
