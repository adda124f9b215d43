import type { CorsOptions, CorsOptionsDelegate } from '@nestjs/common/internal';
import type { Request } from 'express';
import type { OriginPolicy } from './origin-policy.js';

/** Their answers are kept from foreign pages by the browser, as long as nothing allows them. */
const READING: ReadonlySet<string> = new Set(['GET', 'HEAD']);

const ALLOWED: CorsOptions = {
  // The very origin that asks, never `*`: cookies go along.
  origin: true,
  credentials: true,
  methods: ['GET', 'HEAD', 'POST'],
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
  // So long a browser may go on after an origin was taken off the list, when it asks before each request at all.
  maxAge: 600,
};

/**
 * CORS, for `app.enableCors`: pages that may use the service may read its answers, errors included, and are answered before they
 * are known, because a preflight carries no credentials. What a foreign page sends is refused here, before a byte of its body is
 * read, unless it only reads.
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
