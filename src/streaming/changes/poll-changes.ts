import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../../auth/auth-context.js';
import type { Changes, ChangeSubscription } from '../../following/changes/change-subscription.js';
import type { WantedChanges } from '../../following/changes/open-changes.js';
import { Connection } from '../connection.js';
import { Streams } from '../streams.js';
import { FollowChanges } from './follow-changes.js';
import { SentChanges } from './sent-changes.js';

/** One page of changes. It waits while there is none. */
@Injectable()
export class PollChanges {
  constructor(
    private readonly followChanges: FollowChanges,
    private readonly streams: Streams,
    private readonly sent: SentChanges,
  ) {}

  /** @throws the errors of opening a subscription. `left` aborts when the client is gone. */
  async execute(
    caller: AuthContext,
    wanted: WantedChanges,
    waitTimeoutMs: number,
    left: AbortSignal,
  ): Promise<Pick<Changes, 'changes' | 'next'>> {
    const connection = this.streams.join(new Connection('long_poll'), caller);
    try {
      return await this.followChanges.execute(caller, wanted, connection.transport, async ({ subscription }) => {
        const leave = () => subscription.close();
        left.addEventListener('abort', leave);
        connection.atEnd(leave);
        const isAnswered = left.aborted || connection.why !== undefined;
        const { next } = subscription;
        const page = await this.first(subscription, performance.now() + (isAnswered ? 0 : waitTimeoutMs));
        // Judged behind the reading: nothing is read with credentials that have ended.
        connection.judgeCredential();
        if (connection.why === 'credentials_ended') return { changes: [], next };
        for (const change of page.changes) this.sent.count(change, connection.transport);
        return page;
      });
    } finally {
      connection.end('terminal');
    }
  }

  /** The first page with a change, or the last one before `deadline`. A filter may leave nothing of a page. */
  private async first(subscription: ChangeSubscription, deadline: number): Promise<Changes> {
    for (;;) {
      const page = await subscription.read();
      if (page.changes.length > 0 || subscription.isClosed) return page;
      if (!page.isLast) continue;
      const rest = deadline - performance.now();
      if (rest <= 0 || !(await subscription.moved(rest))) return page;
    }
  }
}
