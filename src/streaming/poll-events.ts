import { Injectable } from '@nestjs/common';
import { endsTask } from '#protocol/events.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { TransportDiagnosticsSink } from '../observability/transport-diagnostics-sink.js';
import { within } from '../deadline.js';
import { OpenSubscription } from '../following/open-subscription.js';
import type { Subscription } from '../following/subscription.js';
import { readEvents } from '../tasks/store/read-events.js';
import type { StoredEvent } from '../tasks/domain/stored-event.js';
import { Connection } from './connection.js';
import { Streams } from './streams.js';

export interface EventPage {
  readonly events: readonly StoredEvent[];
  readonly hasMore: boolean;
  readonly headEventId: number;
  readonly terminal: boolean;
}

/**
 * One page of a task's log. It waits while no event follows the cursor, also at the terminal event: there a client that does not
 * know `terminal` would otherwise ask without a pause. A request takes one of its caller's places while it waits for an event. What
 * is answered at once takes none, and neither does a wait at the terminal event: nothing is followed there.
 */
@Injectable()
export class PollEvents {
  constructor(
    private readonly openSubscription: OpenSubscription,
    private readonly streams: Streams,
    private readonly database: Database,
    private readonly diagnostics: TransportDiagnosticsSink,
  ) {}

  /**
   * `left` aborts when the client is gone.
   * @throws the errors of opening a subscription, and when it waits for an event TooManyRequests, ServiceUnavailable
   */
  async execute(
    caller: AuthContext,
    taskId: string,
    query: { readonly afterEventId?: string; readonly waitTimeoutMs: number; readonly maxEvents: number },
    left: AbortSignal,
  ): Promise<EventPage> {
    const connection = this.streams.join(new Connection('long_poll'), caller);
    const { promise: isOver, resolve: leave } = Promise.withResolvers<void>();
    left.addEventListener('abort', () => leave());
    connection.atEnd(leave);
    let subscription: Subscription | undefined;
    try {
      subscription = await this.openSubscription.execute(caller, taskId, query.afterEventId, connection.transport);
      const isAnswered = left.aborted || connection.why !== undefined || subscription.isBehind;
      if (!isAnswered && query.waitTimeoutMs > 0) await this.wait(caller, subscription, query.waitTimeoutMs, isOver);
      const page = await this.page(subscription, query.maxEvents);
      // Judged behind the reading: nothing is read with credentials that have ended.
      connection.judgeCredential();
      return connection.why === 'credentials_ended' ? nothingOf(subscription) : page;
    } finally {
      subscription?.close();
      connection.end('terminal');
    }
  }

  private async wait(
    caller: AuthContext,
    subscription: Subscription,
    timeoutMs: number,
    isOver: Promise<void>,
  ): Promise<void> {
    if (subscription.isOver) {
      subscription.close();
      const close = this.streams.counted('long_poll');
      await within(timeoutMs, isOver).finally(close);
      return;
    }
    const release = this.streams.admit(caller, 'long_poll');
    try {
      void isOver.then(() => subscription.close());
      await subscription.movedWithin(timeoutMs);
    } finally {
      release();
    }
  }

  /** Reads one more than the client wants, in one statement, so that `hasMore` is exact. */
  private async page(
    subscription: { taskId: string; lastEventId: number; headEventId: number; isOver: boolean },
    maxEvents: number,
  ): Promise<EventPage> {
    const { taskId, lastEventId, isOver } = subscription;
    const found = await readEvents(this.database, taskId, lastEventId, maxEvents + 1);
    const events = found.slice(0, maxEvents);
    const last = events.at(-1);
    if (last) {
      const delivery = { taskId, transport: 'long_poll', events: events.length, lastEventId: String(last.eventId) };
      this.diagnostics.delivered(delivery);
    }
    return {
      events,
      hasMore: found.length > maxEvents,
      headEventId: Math.max(subscription.headEventId, found.at(-1)?.eventId ?? lastEventId),
      terminal: isOver || endsTask(last?.type ?? ''),
    };
  }
}

/** The credentials of the caller have ended: it gets what it knows. */
function nothingOf({ headEventId, isOver }: Pick<EventPage, 'headEventId'> & { readonly isOver: boolean }): EventPage {
  return { events: [], hasMore: false, headEventId, terminal: isOver };
}
