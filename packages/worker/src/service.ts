import { request as requestByHttp } from 'node:http';
import { request as requestByHttps } from 'node:https';
import { Readable } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
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

/** What counts of an answer. */
interface Reply {
  readonly status: number;
  readonly text: string;
  readonly date: string | null | undefined;
  readonly retryAfter: string | null | undefined;
}

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
      const ask = (signal: AbortSignal) => this.exchange('', { method: 'GET', signal });
      const { body } = await this.call<Partial<ServiceAnswer>>(ask, FEATURES_TIMEOUT_MS, JSON.parse, stop);
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
    return this.call((signal) => this.exchange(`/${path}`, { method: 'POST', json, signal }), timeoutMs, read, stop);
  }

  /** A file of the task that is held. @throws ServiceRefused, Unavailable */
  upload<Body>(
    { taskId, leaseToken }: Pick<Lease, 'taskId' | 'leaseToken'>,
    { filename, mediaType, sizeBytes, open }: FileToAttach,
  ): Promise<Answer<Body>> {
    const path = `/tasks/${taskId}/attachments?filename=${encodeURIComponent(filename)}`;
    const given = { 'X-Lease-Token': leaseToken, ...(mediaType !== undefined && { 'Content-Type': mediaType }) };
    const timeoutMs = UPLOAD_TIMEOUT_MS + sizeBytes / SLOWEST_UPLOAD_BYTES_PER_MS;
    const body = Readable.toWeb(open());
    const headers = { ...given, Authorization: `Bearer ${this.token}` };
    const send = async (signal: AbortSignal): Promise<Reply> => {
      // Nobody else is to get the token.
      const init = { method: 'POST', body, duplex: 'half', headers, redirect: 'error', signal };
      return replyOf(await fetch(this.address(path), init as RequestInit));
    };
    return this.call(send, timeoutMs, JSON.parse);
  }

  private async call<Body>(
    send: (signal: AbortSignal) => Promise<Reply>,
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
      const reply = await send(cut.signal);
      if (!isGood(reply)) throw refusalOf(reply);
      return { body: read(reply.text || '{}'), serviceTime: Date.parse(reply.date ?? '') || Date.now() };
    } catch (error) {
      if (error instanceof ServiceRefused || error instanceof Unavailable) throw error;
      throw new Unavailable(`${this.#base.origin} did not answer`, 0, error);
    } finally {
      clearTimeout(timer);
      stop?.removeEventListener('abort', abort);
    }
  }

  /** A call with JSON. Not by `fetch`, which takes several times the CPU of a small request, and follows where it is sent. */
  private exchange(
    path: string,
    { method, json, signal }: { readonly method: string; readonly json?: string; readonly signal: AbortSignal },
  ): Promise<Reply> {
    const url = this.address(path);
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${this.token}` };
    return new Promise((resolve, reject) => {
      const request = url.protocol === 'https:' ? requestByHttps : requestByHttp;
      request(url, { method, headers, signal }, (answer) => {
        const { statusCode: status = 0, headers: of } = answer;
        textOf(answer).then((text) => resolve({ status, text, date: of.date, retryAfter: of['retry-after'] }), reject);
      })
        .on('error', reject)
        .end(json);
    });
  }

  private address(path: string): URL {
    return new URL(`worker/v1${path}`, this.#base);
  }

  /** The bytes behind an address from a lease, which is below `url` unless it names a host. @throws ServiceRefused, Unavailable */
  async download(address: string, leaseToken: string, signal: AbortSignal): Promise<Readable> {
    const url = new URL(address.replace(/^\/(?!\/)/, ''), this.#base);
    const ours = url.origin === this.#base.origin;
    const response = await fetch(url, { headers: ours ? { 'X-Lease-Token': leaseToken } : {}, signal });
    if (!response.ok || !response.body) throw refusalOf(await replyOf(response));
    return Readable.fromWeb(response.body, { signal });
  }
}

async function replyOf(answer: Response): Promise<Reply> {
  const { status, headers } = answer;
  return { status, text: await answer.text(), date: headers.get('date'), retryAfter: headers.get('retry-after') };
}

function isGood({ status }: Reply): boolean {
  return status >= 200 && status < 300;
}

function refusalOf({ status, text, retryAfter }: Reply): ServiceRefused | Unavailable {
  const { code, message } = errorBody(text);
  // An answer without a code is not the service's: something on the way has no service to ask.
  const passes = status >= 500 || (MAY_PASS.has(status) && code !== 'UPLOAD_FORBIDDEN') || code === undefined;
  if (!passes) return new ServiceRefused(status, code, message ?? '');
  const retryAfterSeconds = Number(retryAfter) || 0;
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
