import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Injectable } from '@nestjs/common';
import { AuthConfig } from './auth.config.js';

/** How the proxy in front proves that a request comes from it: it alone knows a secret. */
@Injectable()
export class ProxyProof {
  readonly #secrets: readonly Buffer[];

  constructor({ proxySecrets }: AuthConfig) {
    this.#secrets = proxySecrets.map(digest);
  }

  /** Whether a secret is configured. */
  get isPossible(): boolean {
    return this.#secrets.length > 0;
  }

  /** Not by a header that comes twice: one of the two may be a client's. */
  isGiven({ headersDistinct }: IncomingMessage): boolean {
    const [given = '', ...others] = headersDistinct['x-auth-proxy-secret'] ?? [];
    const digested = digest(given);
    // Every secret is compared in constant time, so the time of an answer reveals nothing about the secrets.
    const matches = this.#secrets.filter((secret) => timingSafeEqual(secret, digested)).length;
    return matches > 0 && others.length === 0;
  }
}

function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
