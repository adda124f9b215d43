import type { IncomingMessage } from 'node:http';
import { Injectable } from '@nestjs/common';
import { AuthConfig } from './auth.config.js';
import { Secrets } from './secrets.js';

/** How the proxy in front proves that a request comes from it: it alone knows a secret. */
@Injectable()
export class ProxyProof {
  readonly #secrets: Secrets;

  constructor({ proxySecrets }: AuthConfig) {
    this.#secrets = new Secrets(proxySecrets);
  }

  /** Whether a secret is configured. */
  get isPossible(): boolean {
    return this.#secrets.areConfigured;
  }

  /** Not by a header that comes twice: one of the two may be a client's. */
  isGiven({ headersDistinct }: IncomingMessage): boolean {
    const [given = '', ...others] = headersDistinct['x-auth-proxy-secret'] ?? [];
    return this.#secrets.include(given) && others.length === 0;
  }
}
