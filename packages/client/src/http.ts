import { asError, TaskBridgeError, unreachable } from './errors.js';
import { backoff, linked, pause } from './waiting.js';

export interface HttpOptions {
  /** The address of the service, without `/api/v1`; may have a path. Defaults to the page's own origin. */
  readonly url?: string | undefined;
  /** Asked before every request. */
  readonly headers?: (() => HeadersInit | Promise<HeadersInit>) | undefined;
  /** As of `fetch`: `include` sends cookies to another origin. */
  readonly credentials?: RequestCredentials | undefined;
  /** A bearer or follow token. Asked before every connect. */
  readonly token?: (() => string | Promise<string>) | undefined;
  readonly fetch?: typeof fetch | undefined;
}

export interface Asked extends RequestInit {
  /** How long an answer may take to begin, in milliseconds. */
  readonly firstByteMs?: number;
  /** How often a request is sent at the most, where its failure may pass. Defaults to no limit. */
  readonly tries?: number;
}

/** A service that takes longer for its first byte counts as away. */
export const FIRST_BYTE_MS = 10_000;
/** How long the body of an answer may take. */
const BODY_MS = 60_000;

/** Asks the service over HTTP, with credentials that are asked before every request. */
export class Http {
  readonly base: string;

  constructor(
    readonly options: HttpOptions,
    /** Ends whatever runs. */
    readonly closed: AbortSignal,
  ) {
    this.base = `${(options.url ?? '').replace(/\/+$/, '')}/api/v1`;
  }

  /** The answer with its headers, once it is 2xx. Its body ends with the signal of `asked`. */
  async open(path: string, { firstByteMs = FIRST_BYTE_MS, headers, ...init }: Asked = {}): Promise<Response> {
    const { token, credentials, fetch: ask = fetch } = this.options;
    const controller = linked(init.signal);
    const timer = setTimeout(() => controller.abort(unreachable('No answer came in time.')), firstByteMs);
    try {
      const all = new Headers(await this.options.headers?.());
      if (token) all.set('Authorization', `Bearer ${await token()}`);
      new Headers(headers).forEach((value, name) => all.set(name, value));
      const answer = await ask(this.base + path, {
        ...init,
        headers: all,
        ...(credentials && { credentials }),
        signal: controller.signal,
      });
      if (!answer.ok) throw await refusalOf(answer);
      return answer;
    } catch (error) {
      controller.unlink();
      init.signal?.throwIfAborted();
      throw asError(controller.signal.aborted ? controller.signal.reason : error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The JSON of the answer, repeated while the failure may pass. Undefined for 204. */
  async json<T>(path: string, { tries = Infinity, ...asked }: Asked = {}): Promise<T> {
    let wasUnknown = false;
    for (let failures = 0; ; failures += 1) {
      const controller = linked(asked.signal, this.closed);
      let timer: ReturnType<typeof setTimeout> | undefined;
      try {
        const answer = await this.open(path, { ...asked, signal: controller.signal });
        timer = setTimeout(() => controller.abort(unreachable('The answer did not end in time.')), BODY_MS);
        return (await answer.json()) as T;
      } catch (cause) {
        asked.signal?.throwIfAborted();
        this.closed.throwIfAborted();
        const error = asError(cause);
        // Credentials may just have ended: those of the next request are new ones.
        const isRepeated = error.status === 401 ? !wasUnknown : error.mayPass;
        if (!isRepeated || failures + 1 >= tries) throw error;
        wasUnknown = error.status === 401;
        if (!wasUnknown) await pause(Math.max(error.retryAfterMs ?? 0, backoff(failures)), asked.signal ?? this.closed);
      } finally {
        clearTimeout(timer);
        controller.unlink();
      }
    }
  }

  post<T>(path: string, body: object, asked: Asked = {}): Promise<T> {
    const isForm = typeof FormData === 'function' && body instanceof FormData;
    return this.json(path, {
      method: 'POST',
      ...(isForm ? { body } : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
      ...asked,
    });
  }
}

/** What the answer says, also where it is a page of a proxy. */
async function refusalOf(answer: Response): Promise<TaskBridgeError> {
  const { status } = answer;
  const { code, message, details, correlationId } = (await answer.json().catch(() => ({}))) as Partial<TaskBridgeError>;
  const seconds = Number(answer.headers.get('Retry-After') ?? Number.NaN);
  return new TaskBridgeError(
    typeof code === 'string' ? code : `HTTP_${status}`,
    typeof message === 'string' ? message : `The answer was ${status}.`,
    status,
    details,
    correlationId,
    seconds >= 0 ? seconds * 1_000 : undefined,
  );
}
