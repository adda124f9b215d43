import type { IncomingMessage } from 'node:http';
import { Injectable } from '@nestjs/common';
import { patternOf, PRINCIPAL_ID } from '#protocol/ids.js';
import { AuthConfig } from './auth.config.js';
import { LOCAL, NOBODY, OPERATOR_SCOPES, UNSCOPED, type AuthContext } from './auth-context.js';
import { AuthContextResolver } from './auth-context-resolver.js';
import { NotAuthenticated } from './auth.errors.js';
import { ProxyProof } from './proxy-proof.js';

const PRINCIPAL = patternOf(PRINCIPAL_ID);
const SCOPE = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/;

const LOOPBACK = /^(::ffff:)?127\.\d+\.\d+\.\d+$|^::1$/;
/** Names of headers that proxies add. */
const OF_PROXIES = /^(forwarded|via|x-forwarded.*|x-real-ip|x-client-ip|x-original-.*|true-client-ip|cf-.*)$/;
const LOOPBACK_HOST = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** Trusts the headers of an auth proxy that verifies credentials and strips what clients send under these names. */
@Injectable()
export class ProxyHeaderResolver extends AuthContextResolver {
  constructor(
    private readonly config: AuthConfig,
    private readonly proof: ProxyProof,
  ) {
    super();
  }

  override resolve(request: IncomingMessage): AuthContext {
    const subject = single(request, 'x-principal-id');
    const scopes = single(request, 'x-principal-scopes');
    const tenantId = single(request, 'x-tenant-id');
    const appId = single(request, 'x-app-id');
    if (subject === undefined) {
      if (this.config.requireAuthenticatedPrincipal) throw new NotAuthenticated();
      // Otherwise a client without a principal could choose a tenant.
      if (scopes ?? tenantId ?? appId) throw new NotAuthenticated('X-Principal-Id is missing.');
      return this.isLocal(request) ? LOCAL : NOBODY;
    }
    if (this.proof.isPossible && !this.proof.isGiven(request)) throw new NotAuthenticated();
    if (!PRINCIPAL.test(subject)) throw new NotAuthenticated('X-Principal-Id is malformed.');
    return {
      subject,
      scopes: new Set(scopes === undefined ? UNSCOPED : this.counted(scopesOf(scopes), request)),
      ...named('tenantId', 'X-Tenant-Id', tenantId),
      ...named('appId', 'X-App-Id', appId),
      attributes: {},
    };
  }

  /** Without proof a client may have written the header itself. Then it has no power over tasks of others. */
  private counted(scopes: readonly string[], request: IncomingMessage): readonly string[] {
    if (this.proof.isGiven(request) || this.isLocal(request)) return scopes;
    return scopes.filter((scope) => !(OPERATOR_SCOPES as readonly string[]).includes(scope));
  }

  /**
   * A program on this machine, where the service asks nobody who they are. Not what a proxy on this machine passes on, and not the
   * page of another site whose name leads to this machine (DNS rebinding). nginx speaks HTTP/1.0 unless told otherwise, names this
   * machine as the host, and adds no header.
   */
  private isLocal({ headers, httpVersion, socket }: IncomingMessage): boolean {
    if (this.config.requireAuthenticatedPrincipal || this.proof.isPossible) return false;
    const isPassedOn = httpVersion === '1.0' || Object.keys(headers).some((name) => OF_PROXIES.test(name));
    const host = URL.parse(`http://${headers.host}`)?.hostname ?? '';
    return !isPassedOn && LOOPBACK.test(socket.remoteAddress ?? '') && LOOPBACK_HOST.test(host);
  }
}

/**
 * A header's value, counted in the raw headers: Node joins a doubled `X-Principal-Id` into "alice, bob", and a client that slips
 * its own past the proxy must not be one of them.
 */
function single(request: IncomingMessage, name: string): string | undefined {
  const values = request.rawHeaders.filter((_, i, raw) => i % 2 === 1 && raw[i - 1]?.toLowerCase() === name);
  if (values.length > 1) throw new NotAuthenticated('An identity header is given more than once.');
  return values[0];
}

function scopesOf(header: string): string[] {
  const scopes = header.split(/[\s,]+/).filter((scope) => scope !== '');
  if (!scopes.every((scope) => SCOPE.test(scope))) throw new NotAuthenticated('X-Principal-Scopes is malformed.');
  return scopes;
}

function named<Key extends string>(key: Key, header: string, value: string | undefined): { [K in Key]?: string } {
  if (value === undefined) return {};
  if (!PRINCIPAL.test(value)) throw new NotAuthenticated(`${header} is malformed.`);
  return { [key]: value } as { [K in Key]?: string };
}
