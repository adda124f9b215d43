import type { Subscription } from '../../src/following/subscription.js';
import type { StoredEvent } from '../../src/tasks/domain/stored-event.js';

/** The next events, waited for, at least one; null when the task is over, or the subscription is closed. */
export async function nextEvents(subscription: Subscription): Promise<readonly StoredEvent[] | null> {
  for (;;) {
    const taken = subscription.take();
    if (taken !== undefined) return taken && taken.flatMap(({ events }) => events);
    if (subscription.isBehind) await subscription.read();
    else await new Promise<void>((resolve) => subscription.watch(resolve));
  }
}
