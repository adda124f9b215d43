import type { Readable } from 'node:stream';
import type { Log } from '../observability/log.js';
import type { MetricsSink } from '../observability/metrics-sink.js';
import { Trouble } from '../observability/trouble.js';
import { AttachmentStore, type ByteRange } from './attachment-store.js';
import { AttachmentStoreUnavailable } from './uploads.errors.js';

type Operation = 'put' | 'open' | 'remove';

/**
 * Tells the operator when a store fails: a line at the beginning of a series and one at its end, and a count of all failures. A full
 * disk fails writes alone, so each operation has its own series.
 */
export class ObservedAttachmentStore extends AttachmentStore {
  readonly #troubles: Readonly<Record<Operation, Trouble>>;

  constructor(
    private readonly store: AttachmentStore,
    log: Log,
    private readonly metrics: MetricsSink,
  ) {
    super();
    const trouble = () => new Trouble(log, 'attachment_store.failed', 'attachment_store.recovered', 'error');
    this.#troubles = { put: trouble(), open: trouble(), remove: trouble() };
  }

  override put(attachmentId: string, bytes: Readable): Promise<void> {
    return this.observed('put', this.store.put(attachmentId, bytes));
  }

  override open(attachmentId: string, range?: ByteRange): Promise<Readable> {
    return this.observed('open', this.store.open(attachmentId, range));
  }

  override remove(attachmentId: string): Promise<void> {
    return this.observed('remove', this.store.remove(attachmentId));
  }

  /** Readiness has a line and a metric of its own. */
  override checkHealth(): Promise<void> {
    return this.store.checkHealth();
  }

  private async observed<T>(operation: Operation, call: Promise<T>): Promise<T> {
    try {
      const result = await call;
      this.#troubles[operation].worked();
      return result;
    } catch (error) {
      if (error instanceof AttachmentStoreUnavailable) {
        this.metrics.increment('attachment_store_failures_total', { operation });
        this.#troubles[operation].failed(error, { operation });
      }
      throw error;
    }
  }
}
