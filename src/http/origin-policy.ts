import type { IncomingMessage } from 'node:http';
import { Injectable } from '@nestjs/common';
import { AccessDenied } from '../auth/auth.errors.js';
import { HttpConfig } from './http.config.js';

const LOCALHOST = new Set(['localhost', '127.0.0.1', '[::1]']);

/**
 * Which web pages may use the service. Browsers send their cookies along from any page, the proxy makes a principal of them, and a
 * page could do and read what its visitor can. CORS keeps a foreign page from reading answers, and from sending JSON, but not from
 * sending a form or opening a WebSocket. Clients that are no browsers send no `Origin`.
 */
@Injectable()
export class OriginPolicy {
  constructor(private readonly config: HttpConfig) {}

  /** @throws AccessDenied */
  check(request: IncomingMessage): void {
    if (this.isForeign(request)) throw new AccessDenied('This origin is not allowed.');
  }

  /** Whether a page of an origin that is not allowed sent this. */
  isForeign({ headers: { origin, host } }: IncomingMessage): boolean {
    if (origin === undefined || this.config.allowedOrigins.includes(origin)) return false;
    // `null` is a page without an origin of its own: a file, a sandboxed frame.
    if (!URL.canParse(origin)) return true;
    const url = new URL(origin);
    return url.host !== host?.toLowerCase() && (this.config.productionLike || !LOCALHOST.has(url.hostname));
  }
}
