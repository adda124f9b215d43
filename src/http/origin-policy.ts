import type { IncomingMessage } from 'node:http';
import { Injectable } from '@nestjs/common';
import { AccessDenied } from '../auth/auth.errors.js';
import { ProxyProof } from '../auth/proxy-proof.js';
import { HttpConfig } from './http.config.js';

const LOCALHOST = new Set(['localhost', '127.0.0.1', '[::1]']);

/** What proxies write into `X-Forwarded-Proto`; some name the protocol of a WebSocket. */
const SCHEMES: ReadonlyMap<string, 'http:' | 'https:'> = new Map([
  ['http', 'http:'],
  ['ws', 'http:'],
  ['https', 'https:'],
  ['wss', 'https:'],
]);

/**
 * Decides which web pages may use the service. Browsers send cookies with requests of every page, and the proxy makes a principal
 * of them. So a page could do and read what its visitor can. CORS keeps a foreign page from reading answers, and from sending
 * JSON, but not from sending a form or opening a WebSocket. Clients that are no browsers send no `Origin`.
 */
@Injectable()
export class OriginPolicy {
  constructor(
    private readonly config: HttpConfig,
    private readonly proof: ProxyProof,
  ) {}

  /** @throws AccessDenied */
  check(request: IncomingMessage): void {
    if (this.isForeign(request)) throw new AccessDenied('This origin is not allowed.');
  }

  /** Whether a page of an origin that is not allowed sent this. */
  isForeign(request: IncomingMessage): boolean {
    const { origin } = request.headers;
    if (origin === undefined || this.config.allowedOrigins.includes(origin)) return false;
    // `null` is a page without an origin of its own: a file, a sandboxed frame.
    const page = URL.parse(origin);
    if (page === null) return true;
    if (!this.config.productionLike && LOCALHOST.has(page.hostname)) return false;
    return page.origin !== this.ownOrigin(request, page);
  }

  /** The origin of the request's address. Undefined when it is unknown: then no page is of the same origin. */
  private ownOrigin(request: IncomingMessage, page: URL): string | undefined {
    const { host } = request.headers;
    const scheme = this.isSchemeKnown(request) ? schemeOf(request) : /^https?:$/.exec(page.protocol)?.[0];
    return host === undefined || scheme === undefined ? undefined : URL.parse(`${scheme}//${host}`)?.origin;
  }

  /** Only the proxy's header counts, because every client can write it. An unknown scheme counts as the page's. */
  private isSchemeKnown(request: IncomingMessage): boolean {
    return request.headers['x-forwarded-proto'] !== undefined && this.proof.isGiven(request);
  }
}

/** The values of several proxies count when they agree. */
function schemeOf({ headersDistinct }: IncomingMessage): string | undefined {
  const told = (headersDistinct['x-forwarded-proto'] ?? []).flatMap((value) => value.split(','));
  const [scheme, ...others] = new Set(told.map((name) => SCHEMES.get(name.trim().toLowerCase())));
  return others.length === 0 ? scheme : undefined;
}
