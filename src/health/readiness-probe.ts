export interface Readiness {
  readonly ready: boolean;
  /** By the name of what was asked, codes only: these are shown to anybody. */
  readonly details: Readonly<Record<string, { readonly status: string }>>;
  /** Why it is not ready. For the log; never shown to a caller. */
  readonly cause?: unknown;
}

/** Whether this replica should be sent requests. */
export abstract class ReadinessProbe {
  /** Answers soon, and rather with "not ready" than with a rejection. */
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
