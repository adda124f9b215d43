import type { IncomingMessage } from 'node:http';
import { Injectable } from '@nestjs/common';
import { AccessDenied } from '../auth/auth.errors.js';
import { HttpConfig } from './http.config.js';

const LOCALHOST = new Set(['localhost', '127.0.0.1', '[::1]']);

/**
 * Which web pages may open streams. Browsers send their cookies along with an upgrade or an EventSource from any page, and CORS
 * does not guard a WebSocket: without this, a foreign page could read a visitor's tasks. Clients that are no browsers send no
 * `Origin`.
 */
@Injectable()
export class OriginPolicy {
  constructor(private readonly config: HttpConfig) {}

  /** @throws AccessDenied */
  check(request: IncomingMessage): void {
    const { origin, host } = request.headers;
    if (origin === undefined) return;
    if (!this.isAllowed(origin, host)) throw new AccessDenied('This origin may not open streams.');
  }

  private isAllowed(origin: string, host: string | undefined): boolean {
    if (this.config.allowedOrigins.includes(origin)) return true;
    if (!URL.canParse(origin)) return false;
    const url = new URL(origin);
    return url.host === host || (!this.config.productionLike && LOCALHOST.has(url.hostname));
  }
}
