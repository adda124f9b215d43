import { Readable } from 'node:stream';
import { Unavailable } from '../../handler/src/holder-errors.js';
import type { FileToAttach } from '../../handler/src/lease-holder.js';
import type { Feature } from '../../protocol/src/features.js';
import type { Service as ServiceAnswer } from '../../protocol/src/snapshots.js';
import type { Lease } from './lease.js';

/** The service said no; the same again would be refused again. */
export class ServiceRefused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    /** The message in the service's words. */
    readonly text: string,
  ) {
    super(`${status} ${code}: ${text}`);
  }
}

/** What the service knows is read again after this time. */
const FEATURES_MS = 5_000;
const FEATURES_TIMEOUT_MS = 10_000;

/** The time of an upload: what the service may take to answer, and the bytes on a slow connection. */
const UPLOAD_TIMEOUT_MS = 30_000;
const SLOWEST_UPLOAD_BYTES_PER_MS = 175;

/** Without headers the body is JSON. */
type Sent = Pick<RequestInit, 'method' | 'body'> & { readonly headers?: Readonly<Record<string, string>> };

export interface Answer<Body> {
  readonly body: Body;
  /** The service's clock, in Unix milliseconds, up to a second behind. */
  readonly serviceTime: number;
}

/** 401 and 403 too: while tokens are rotated, some replicas do not know the new one yet, or no longer the old. */
const MAY_PASS: ReadonlySet<number> = new Set([401, 403, 408, 429]);

/** The worker protocol's HTTP: one request, one answer. */
export class Service {
  readonly #base: URL;
  #features: readonly string[] = [];
  #readAt = Number.NEGATIVE_INFINITY;

  /** `url` is where the service is, with or without a path below which `/worker/v1` begins. */
  constructor(
    url: string | URL,
    private readonly token: string,
  ) {
    this.#base = new URL(String(url).replace(/\/*$/, '/'));
  }

  /**
   * Whether all replicas know it, by an answer of the last 5 s. Release 0.1.0 has no such route, and knows none.
   * @throws ServiceRefused, Unavailable
   */
  async knows(feature: Feature, stop?: AbortSignal): Promise<boolean> {
    if (performance.now() - this.#readAt >= FEATURES_MS) {
      this.#features = await this.features(stop);
      this.#readAt = performance.now();
    }
    return this.#features.includes(feature);
  }

  /** What the last answer said, without asking; false where it was forgotten. */
  knew(feature: Feature): boolean {
    return this.#readAt > Number.NEGATIVE_INFINITY && this.#features.includes(feature);
  }

  /** The next `knows` asks the service. */
  forgetFeatures(): void {
    this.#readAt = Number.NEGATIVE_INFINITY;
  }

  private async features(stop?: AbortSignal): Promise<readonly string[]> {
    try {
      const { body } = await this.call<Partial<ServiceAnswer>>(
        '',
        { method: 'GET' },
        FEATURES_TIMEOUT_MS,
        JSON.parse,
        stop,
      );
      return body.features ?? [];
    } catch (error) {
      if (error instanceof ServiceRefused && error.status === 404) return [];
      throw error;
    }
  }

  /** `read` parses the answer. @throws ServiceRefused, Unavailable; also Unavailable when `stop` aborts */
  post<Body>(
    path: string,
    json: string,
    timeoutMs: number,
    read: (json: string) => Body = JSON.parse,
    stop?: AbortSignal,
  ): Promise<Answer<Body>> {
    return this.call(`/${path}`, { method: 'POST', body: json }, timeoutMs, read, stop);
  }

  /** A file of the task that is held. @throws ServiceRefused, Unavailable */
  upload<Body>(
    { taskId, leaseToken }: Pick<Lease, 'taskId' | 'leaseToken'>,
    { filename, mediaType, sizeBytes, open }: FileToAttach,
  ): Promise<Answer<Body>> {
    const path = `/tasks/${taskId}/attachments?filename=${encodeURIComponent(filename)}`;
    const headers = { 'X-Lease-Token': leaseToken, ...(mediaType !== undefined && { 'Content-Type': mediaType }) };
    const timeoutMs = UPLOAD_TIMEOUT_MS + sizeBytes / SLOWEST_UPLOAD_BYTES_PER_MS;
    const init = { method: 'POST', body: Readable.toWeb(open()), duplex: 'half', headers };
    return this.call(path, init as unknown as Sent, timeoutMs, JSON.parse);
  }

  private async call<Body>(
    path: string,
    init: Sent,
    timeoutMs: number,
    read: (json: string) => Body,
    stop?: AbortSignal,
  ): Promise<Answer<Body>> {
    const cut = new AbortController();
    const abort = () => cut.abort();
    const timer = setTimeout(abort, timeoutMs);
    stop?.addEventListener('abort', abort);
    if (stop?.aborted) abort();
    try {
      const response = await fetch(new URL(`worker/v1${path}`, this.#base), {
        ...init,
        headers: { ...(init.headers ?? { 'Content-Type': 'application/json' }), Authorization: `Bearer ${this.token}` },
        // Nobody else is to get the token.
        redirect: 'error',
        signal: cut.signal,
      });
      return await answerOf(response, read);
    } catch (error) {
      if (error instanceof ServiceRefused || error instanceof Unavailable) throw error;
      throw new Unavailable(`${this.#base.origin} did not answer`, 0, error);
    } finally {
      clearTimeout(timer);
      stop?.removeEventListener('abort', abort);
    }
  }

  /** The bytes behind an address from a lease, which is below `url` unless it names a host. @throws ServiceRefused, Unavailable */
  async download(address: string, leaseToken: string, signal: AbortSignal): Promise<Readable> {
    const url = new URL(address.replace(/^\/(?!\/)/, ''), this.#base);
    const ours = url.origin === this.#base.origin;
    const response = await fetch(url, { headers: ours ? { 'X-Lease-Token': leaseToken } : {}, signal });
    if (!response.ok || !response.body) throw refusalOf(response, await response.text());
    return Readable.fromWeb(response.body, { signal });
  }
}

async function answerOf<Body>(response: Response, read: (json: string) => Body): Promise<Answer<Body>> {
  const text = await response.text();
  if (!response.ok) throw refusalOf(response, text);
  const serviceTime = Date.parse(response.headers.get('date') ?? '') || Date.now();
  return { body: read(text || '{}'), serviceTime };
}

function refusalOf({ status, headers }: Response, text: string): ServiceRefused | Unavailable {
  const { code, message } = errorBody(text);
  // An answer without a code is not the service's: something on the way has no service to ask.
  const passes = status >= 500 || (MAY_PASS.has(status) && code !== 'UPLOAD_FORBIDDEN') || code === undefined;
  if (!passes) return new ServiceRefused(status, code, message ?? '');
  const retryAfterSeconds = Number(headers.get('retry-after')) || 0;
  return new Unavailable(`the service answered ${status} ${code ?? ''}`.trim(), retryAfterSeconds * 1000);
}

function errorBody(text: string): { readonly code?: string; readonly message?: string } {
  try {
    const { code, message } = JSON.parse(text) as Record<string, unknown>;
    return { ...(typeof code === 'string' && { code }), ...(typeof message === 'string' && { message }) };
  } catch {
    return {};
  }
}
