import { MAX_HELD_LEASES } from '../../protocol/src/limits.js';
import type { Answer } from '../../protocol/src/snapshots.js';
import { unlessUnknown } from './feature-call.js';
import type { Service } from './service.js';

/** How long one call waits for a signal, held open by the service. */
const WAIT_MS = 20_000;
/** How much longer its answer may take. */
const ANSWER_MS = 10_000;

/** The cancellations of all leases of a worker, as they come. */
export class Signals {
  /** Tasks whose cancellation was heard. */
  readonly #known = new Set<string>();

  constructor(
    private readonly service: Service,
    private readonly workerId: string,
    /** Called with the task of a cancelled lease. Answers whether the worker holds it. */
    private readonly cancelled: (taskId: string) => boolean,
  ) {}

  /**
   * Waits for signals once. @returns whether it makes sense to wait again at once; undefined where the service knows no signals
   * @throws ServiceRefused, Unavailable
   */
  async wait(stop: AbortSignal): Promise<boolean | undefined> {
    if (!(await this.service.knows('signals', stop))) return undefined;
    const askedAt = performance.now();
    const known = [...this.#known].slice(-MAX_HELD_LEASES);
    const json = JSON.stringify({ workerId: this.workerId, known, waitTimeoutMs: WAIT_MS });
    const post = () => this.service.post<Answer<'Signals'>>('signals', json, WAIT_MS + ANSWER_MS, JSON.parse, stop);
    const { body } = await unlessUnknown(this.service, post);
    const heard = body.signals.filter(({ type, taskId }) => type === 'cancel' && this.cancelled(taskId));
    for (const { taskId } of heard) this.#known.add(taskId);
    // A replica that drains answers early and with nothing. A task that is not held yet would be signalled again and again.
    return heard.length > 0 || (body.signals.length === 0 && performance.now() - askedAt >= WAIT_MS / 2);
  }

  /** The worker does not hold the task any more. */
  forget(taskId: string): void {
    this.#known.delete(taskId);
  }
}
