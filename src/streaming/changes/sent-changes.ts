import { Injectable } from '@nestjs/common';
import type { Change } from '../../following/changes/change-subscription.js';
import type { Transport } from '../../following/transport.js';
import { MetricsSink } from '../../observability/metrics-sink.js';

/** Counts what followers of feeds get. */
@Injectable()
export class SentChanges {
  constructor(private readonly metrics: MetricsSink) {}

  count(change: Change, transport: Transport): void {
    this.metrics.increment('changes_delivered_total', { transport });
    if (change.kind === 'task' && change.lateSeconds !== undefined) {
      this.metrics.observe('change_delivery_seconds', change.lateSeconds);
    }
  }

  expired(): void {
    this.metrics.increment('change_cursors_expired_total');
  }
}
