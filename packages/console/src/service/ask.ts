/** A refusal of the service, in its one shape, or that it was not reached (`status` 0). */
export class Refusal extends Error {
  override readonly name = 'Refusal';

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly details?: unknown,
    readonly correlationId?: string,
  ) {
    super(message);
  }

  /** Whether the same request may be answered later. */
  get mayPass(): boolean {
    return this.status === 0 || this.status === 429 || [502, 503, 504].includes(this.status);
  }
}

const LONGEST_MS = 20_000;

/** The JSON answer of the public API at a path below `/api/v1`. @throws Refusal */
export async function ask<T>(path: string, { signal, ...init }: RequestInit = {}, waitMs = 0): Promise<T> {
  const limit = AbortSignal.timeout(LONGEST_MS + waitMs);
  const answer = await fetch(`/api/v1${path}`, {
    ...init,
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
  }).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw new Refusal(0, 'UNREACHABLE', error instanceof Error ? error.message : String(error));
  });
  const text = await answer.text().catch(() => '');
  const body = parsed(text);
  if (answer.ok) return body as T;
  const {
    code = `HTTP_${answer.status}`,
    message = 'The answer has no explanation.',
    details,
    correlationId,
  } = Object(body) as Partial<Refusal>;
  throw new Refusal(answer.status, code, message, details, correlationId);
}

export function send<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: object): Promise<T> {
  const json = body && { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
  return ask<T>(path, { method, ...json });
}

/** Of a query. Those without a value are left out. */
export type Members = Readonly<Record<string, string | number | boolean | undefined>>;

export function queryOf(members: Members): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(members)) if (value !== undefined) query.set(name, String(value));
  return String(query) && `?${query}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
