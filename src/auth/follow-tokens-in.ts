import type { IncomingMessage } from 'node:http';
import { FOLLOW_TOKEN_PREFIX, TOKEN_SUBPROTOCOL_PREFIX } from '#protocol/follow-tokens.js';

/** Where a token may be besides the header `Authorization`. */
export type TokenPlace = 'query' | 'subprotocol';

const PARAMETER = 'token';
const BEARER = new RegExp(`^\\s*Bearer\\s+(${FOLLOW_TOKEN_PREFIX.replace('.', '\\.')}.*)$`, 'is');
/** What names a principal in a handshake, for a host or for the shipped resolver. */
const CREDENTIALS = ['cookie', 'x-principal-id', 'x-principal-scopes', 'x-auth-proxy-secret'];

/** The follow tokens that a request shows, good and bad. Another bearer token is for the resolver. */
export function followTokensIn(request: IncomingMessage, place?: TokenPlace): readonly string[] {
  const tokens = rawValues(request, 'authorization').flatMap((value) => BEARER.exec(value)?.[1] ?? []);
  if (place === 'query') tokens.push(...queryOf(request).getAll(PARAMETER));
  if (place === 'subprotocol') tokens.push(...offeredIn(request).flatMap((name) => tokenOf(name) ?? []));
  return tokens;
}

/** The same request as if it had no follow token, for the resolver: also not where the service takes none. */
export function withoutFollowTokens(request: IncomingMessage): IncomingMessage {
  const protocols = offeredIn(request);
  const others = protocols.filter((name) => tokenOf(name) === undefined);
  const isBare =
    followTokensIn(request).length === 0 && others.length === protocols.length && !hasTokenInQuery(request);
  if (isBare) return request;
  const authorization = rawValues(request, 'authorization').filter((value) => !BEARER.test(value));
  return withHeaders(request, { authorization, 'sec-websocket-protocol': others });
}

/** The same request with a bearer token in the place of its credentials. */
export function withBearer(request: IncomingMessage, token: string): IncomingMessage {
  const none = Object.fromEntries(CREDENTIALS.map((name) => [name, []]));
  return withHeaders(withoutFollowTokens(request), { ...none, authorization: [`Bearer ${token}`] });
}

/**
 * A view of the request in which these headers have these values, in every form in which Node shows them, and no follow token in
 * the address.
 */
function withHeaders(request: IncomingMessage, changed: Readonly<Record<string, readonly string[]>>): IncomingMessage {
  const kept = pairsOf(request).filter(([name]) => changed[name.toLowerCase()] === undefined);
  const given = Object.entries(changed).flatMap(([name, values]) => values.map((value) => [name, value] as const));
  const headers = { ...request.headers };
  const headersDistinct = { ...request.headersDistinct };
  for (const [name, values] of Object.entries(changed)) {
    delete headers[name];
    delete headersDistinct[name];
    if (values.length === 0) continue;
    headers[name] = name === 'authorization' ? values[0] : values.join(', ');
    headersDistinct[name] = [...values];
  }
  const { originalUrl } = request as { originalUrl?: string };
  const view = {
    rawHeaders: [...kept, ...given].flat(),
    headers,
    headersDistinct,
    url: withoutParameter(request.url ?? ''),
    ...(originalUrl !== undefined && { originalUrl: withoutParameter(originalUrl) }),
  };
  return Object.create(request, Object.getOwnPropertyDescriptors(view)) as IncomingMessage;
}

/** A parameter of the same name may be a host's own. */
function withoutParameter(url: string): string {
  const [path = '', query] = url.split(/\?(.*)/s, 2);
  const kept = query?.split('&').filter((pair) => !hasFollowToken(new URLSearchParams(pair)));
  return kept === undefined || kept.length === 0 ? path : `${path}?${kept.join('&')}`;
}

export function hasTokenInQuery(request: IncomingMessage): boolean {
  return hasFollowToken(queryOf(request));
}

function hasFollowToken(query: URLSearchParams): boolean {
  return query.getAll(PARAMETER).some((value) => value.startsWith(FOLLOW_TOKEN_PREFIX));
}

function queryOf({ url = '' }: IncomingMessage): URLSearchParams {
  return new URLSearchParams(url.split(/\?(.*)/s, 2)[1] ?? '');
}

function offeredIn(request: IncomingMessage): readonly string[] {
  return rawValues(request, 'sec-websocket-protocol').flatMap((value) => value.split(',').map((name) => name.trim()));
}

function tokenOf(subprotocol: string): string | undefined {
  return subprotocol.startsWith(TOKEN_SUBPROTOCOL_PREFIX)
    ? subprotocol.slice(TOKEN_SUBPROTOCOL_PREFIX.length)
    : undefined;
}

function rawValues(request: IncomingMessage, name: string): string[] {
  return pairsOf(request).flatMap(([given, value]) => (given.toLowerCase() === name ? [value] : []));
}

function pairsOf({ rawHeaders }: IncomingMessage): (readonly [name: string, value: string])[] {
  return rawHeaders.flatMap((name, i) => (i % 2 === 0 ? [[name, rawHeaders[i + 1] ?? ''] as const] : []));
}
