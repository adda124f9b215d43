/** How a caller proves its identity. */
export abstract class AuthConfig {
  /** Without a principal header: 401 when true, the system principal when false. From REQUIRE_AUTHENTICATED_PRINCIPAL. */
  abstract readonly requireAuthenticatedPrincipal: boolean;
  /** `X-Auth-Proxy-Secret` must equal one of these when there are any. From AUTH_PROXY_SECRET. Defaults to none. */
  abstract readonly proxySecrets: readonly string[];
  /** The first signs follow tokens, and all verify them. From FOLLOW_TOKEN_KEYS. Defaults to none: there are no such tokens. */
  abstract readonly followTokenKeys: readonly string[];
}
