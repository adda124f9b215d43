import type { CorsOptions, CorsOptionsDelegate } from '@nestjs/common/internal';
import type { Request } from 'express';
import type { OriginPolicy } from './origin-policy.js';

/** The browser hides the answers of these methods from foreign pages, as long as no header allows them. */
const READING: ReadonlySet<string> = new Set(['GET', 'HEAD']);

const ALLOWED: CorsOptions = {
  // The origin of the request, never `*`, because requests carry cookies.
  origin: true,
  credentials: true,
  methods: ['GET', 'HEAD', 'POST', 'DELETE'],
  allowedHeaders: [
    'Authorization',
    'Content-Type',
    'Idempotency-Key',
    'If-None-Match',
    'If-Range',
    'Last-Event-ID',
    'Range',
    'X-Correlation-Id',
    'traceparent',
    'tracestate',
  ],
  exposedHeaders: [
    'Accept-Ranges',
    'Allow',
    'Content-Disposition',
    'Content-Range',
    'ETag',
    'Idempotent-Replayed',
    'Location',
    'Retry-After',
    'X-Correlation-Id',
  ],
  // How long a browser may use the answer to a preflight, and so continue after its origin left the list.
  maxAge: 600,
};

/**
 * CORS, for `app.enableCors`. Allowed pages may read all answers, errors included. The service answers them before
 * authentication, because a preflight carries no credentials. Requests of foreign pages are refused here before their body is
 * read, except reads.
 */
export function crossOrigin(origins: OriginPolicy): CorsOptionsDelegate<Request> {
  return (request, decide) => {
    if (request.headers.origin === undefined) return decide(null, { origin: false });
    if (!READING.has(request.method)) {
      try {
        origins.check(request);
      } catch (error) {
        return decide(error as Error, {});
      }
    }
    decide(null, origins.isForeign(request) ? { origin: false } : ALLOWED);
  };
}
