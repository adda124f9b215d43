export interface Readiness {
  readonly ready: boolean;
  /** States by the name of the dependency. They are codes only, because strangers may read them. */
  readonly details: Readonly<Record<string, { readonly status: string }>>;
  /** Why it is not ready. For the log; never shown to a caller. */
  readonly cause?: unknown;
}

/** Decides whether this replica should get requests. */
export abstract class ReadinessProbe {
  /** Answers soon. It answers "not ready" instead of a rejection. */
  abstract checkReadiness(): Promise<Readiness>;
}

/** The readiness of one thing: ready when `check` resolves. */
export async function readinessOf(name: string, check: () => Promise<unknown>): Promise<Readiness> {
  try {
    await check();
    return { ready: true, details: { [name]: { status: 'ready' } } };
  } catch (cause) {
    return { ready: false, details: { [name]: { status: 'not_ready' } }, cause };
  }
}
