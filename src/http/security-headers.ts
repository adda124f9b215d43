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

/** By the beginning of their paths, the policies of pages. */
const PAGES: readonly (readonly [RegExp, string])[] = [
  [
    // Files of their own for all, and the API of the same origin. React sets styles by script, which the policy allows.
    /^\/console(\/|$)/i,
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  ],
  [
    // Swagger UI styles its elements by attributes.
    /^\/docs(\/|$)/i,
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'",
  ],
];

/** Middleware that runs before every handler that answers. */
export function securityHeaders(req: IncomingMessage, res: ServerResponse, next: () => void): void {
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) res.setHeader(name, value);
  const path = req.url?.split('?', 1)[0] ?? '';
  const policy = PAGES.find(([beginning]) => beginning.test(path))?.[1];
  if (policy !== undefined) res.setHeader('Content-Security-Policy', policy);
  next();
}
