import { Injectable } from '@nestjs/common';
import { endsTask } from '#protocol/events.js';
import { POLL_WAIT_MS } from '#protocol/limits.js';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { TransportDiagnosticsSink } from '../observability/transport-diagnostics-sink.js';
import { readEvents } from '../tasks/store/read-events.js';
import type { StoredEvent } from '../tasks/domain/stored-event.js';
import { Connection } from './connection.js';
import { FollowStream } from './follow-stream.js';
import { Streams } from './streams.js';

export interface EventPage {
  readonly events: readonly StoredEvent[];
  readonly hasMore: boolean;
  readonly headEventId: number;
  readonly terminal: boolean;
}

/**
 * One page of a task's log. It waits while no event follows the cursor, also at the terminal event: there a client that does not
 * know `terminal` would otherwise ask without a pause.
 */
@Injectable()
export class PollEvents {
  constructor(
    private readonly followStream: FollowStream,
    private readonly streams: Streams,
    private readonly database: Database,
    private readonly diagnostics: TransportDiagnosticsSink,
  ) {}

  /** @throws the errors of opening a subscription. `left` aborts when the client is gone. */
  async execute(
    caller: AuthContext,
    taskId: string,
    query: { readonly afterEventId?: string; readonly waitTimeoutMs?: number; readonly maxEvents: number },
    left: AbortSignal,
  ): Promise<EventPage> {
    const connection = this.streams.join(new Connection('long_poll'));
    const wanted = { caller, taskId, cursor: query.afterEventId, transport: connection.transport };
    try {
      return await this.followStream.execute(wanted, async ({ subscription, leave }) => {
        left.addEventListener('abort', leave);
        connection.atEnd(leave);
        const isAnswered = left.aborted || connection.why !== undefined;
        if (!isAnswered) await subscription.movedWithin(query.waitTimeoutMs ?? POLL_WAIT_MS.default);
        return this.page(subscription, query.maxEvents);
      });
    } finally {
      connection.end('terminal');
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
