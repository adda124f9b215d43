/** The edge of the HTTP server. */
export abstract class HttpConfig {
  /** From PORT. Defaults to 3000. */
  abstract readonly port: number;
  /** From HOST. Defaults to 127.0.0.1, in production-like environments to 0.0.0.0. */
  abstract readonly host: string;
  /** Bytes of one JSON body. From MAX_REQUEST_BODY_SIZE_BYTES. Defaults to 1048576. */
  abstract readonly maxRequestBodyBytes: number;
  /** Exact origins that browsers may come from, besides the same host. From ALLOWED_ORIGINS. Defaults to none. */
  abstract readonly allowedOrigins: readonly string[];
  /** Whether `/console` is served. From CONSOLE. Defaults to true, in production-like environments to false. */
  abstract readonly console: boolean;
  /** Whether `/docs` is served and localhost origins are allowed. False in production-like environments. */
  abstract readonly productionLike: boolean;
}
