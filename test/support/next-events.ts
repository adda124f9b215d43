import type { Subscription } from '../../src/delivery/subscription.js';
import type { StoredEvent } from '../../src/tasks/stored-event.js';

/** The next events, waited for, at least one; null when the task is over, or the subscription is closed. */
export async function nextEvents(subscription: Subscription): Promise<readonly StoredEvent[] | null> {
  for (;;) {
    await subscription.ready();
    const events = subscription.take();
    if (events !== undefined) return events;
  }
}
