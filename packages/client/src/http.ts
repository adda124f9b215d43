import { asError, TaskBridgeError } from './errors.js';
import { backoff, FIRST_BYTE_MS, linked, pause, SILENCE } from './waiting.js';

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
  readonly headers?: Readonly<Record<string, string>>;
  /** How long an answer may take to begin, in milliseconds. */
  readonly firstByteMs?: number;
  /** How often a request is sent at the most, where its failure may pass. Defaults to no limit. */
  readonly tries?: number;
}

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

  /**
   * What `read` makes of an answer that is 2xx. It has a minute for that, where it does not return the answer itself.
   * @throws TaskBridgeError, or the reason of the signal
   */
  async open<T>(
    path: string,
    { firstByteMs = FIRST_BYTE_MS, headers, signal, ...init }: Asked,
    read: (answer: Response) => T | Promise<T>,
  ): Promise<T> {
    const { token, credentials, fetch: ask = fetch } = this.options;
    const own = linked(signal, this.closed);
    const limit = (ms: number) => setTimeout(() => own.abort(SILENCE), ms);
    let timer = limit(firstByteMs);
    try {
      const all = new Headers(await this.options.headers?.());
      if (token) all.set('Authorization', `Bearer ${await token()}`);
      for (const [name, value] of Object.entries(headers ?? {})) all.set(name, value);
      const answer = await ask(this.base + path, {
        ...init,
        headers: all,
        ...(credentials && { credentials }),
        signal: own.signal,
      });
      // Node 22 does not end a body whose answer is held by nothing.
      Object.assign(own, { answer });
      clearTimeout(timer);
      timer = limit(BODY_MS);
      if (!answer.ok) throw await refusalOf(answer);
      return await read(answer);
    } catch (error) {
      signal?.throwIfAborted();
      this.closed.throwIfAborted();
      throw asError(own.signal.aborted ? own.signal.reason : error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The JSON of the answer, repeated while the failure may pass. */
  async json<T>(path: string, { tries = Infinity, ...asked }: Asked = {}): Promise<T> {
    let wasUnknown = false;
    for (let failures = 0; ; failures += 1) {
      try {
        return await this.open(path, asked, (answer) => answer.json() as Promise<T>);
      } catch (error) {
        if (!(error instanceof TaskBridgeError) || error === this.closed.reason) throw error;
        // Credentials may just have ended: those of the next request are new ones.
        const isUnknown = error.status === 401;
        if (!(isUnknown ? !wasUnknown : error.mayPass) || failures + 1 >= tries) throw error;
        wasUnknown = isUnknown;
        if (!isUnknown)
          await pause(Math.max(error.retryAfterMs ?? 0, backoff(failures)), linked(asked.signal, this.closed).signal);
      }
    }
  }

  post<T>(path: string, body: object, asked: Asked = {}): Promise<T> {
    const json = { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
    return this.json(path, { method: 'POST', ...json, ...asked });
  }
}

/** What the answer says, also where it is a page of a proxy. */
async function refusalOf(answer: Response): Promise<TaskBridgeError> {
  const { status } = answer;
  const {
    code = `HTTP_${status}`,
    message = code,
    details,
    correlationId,
  } = Object(await answer.json().catch(() => {})) as Partial<TaskBridgeError>;
  const seconds = Number(answer.headers.get('Retry-After') ?? Number.NaN);
  return new TaskBridgeError(code, message, status, details, correlationId, seconds >= 0 ? seconds * 1_000 : undefined);
}
