import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../../auth/auth-context.js';
import type { Changes, ChangeSubscription } from '../../following/changes/change-subscription.js';
import { OpenChanges, type WantedChanges } from '../../following/changes/open-changes.js';
import { CursorExpired } from '../../tasks/domain/tasks.errors.js';
import { Connection } from '../connection.js';
import { Streams } from '../streams.js';
import { SentChanges } from './sent-changes.js';

/**
 * One page of changes. It waits while there is none. A request takes one of its caller's places while it waits; what is answered at
 * once takes none.
 */
@Injectable()
export class PollChanges {
  constructor(
    private readonly openChanges: OpenChanges,
    private readonly streams: Streams,
    private readonly sent: SentChanges,
  ) {}

  /**
   * `left` aborts when the client is gone.
   * @throws the errors of opening a subscription, and when it waits for a change TooManyRequests, ServiceUnavailable
   */
  async execute(
    caller: AuthContext,
    wanted: WantedChanges,
    waitTimeoutMs: number,
    left: AbortSignal,
  ): Promise<Pick<Changes, 'changes' | 'next'>> {
    const connection = this.streams.join(new Connection('long_poll'), caller);
    let subscription: ChangeSubscription | undefined;
    try {
      subscription = await this.openChanges.execute(caller, wanted, connection.transport);
      const leave = () => subscription?.close();
      left.addEventListener('abort', leave);
      connection.atEnd(leave);
      const isAnswered = left.aborted || connection.why !== undefined;
      const { next } = subscription;
      const page = await this.first(caller, subscription, isAnswered ? 0 : waitTimeoutMs);
      // Judged behind the reading: nothing is read with credentials that have ended.
      connection.judgeCredential();
      if (connection.why === 'credentials_ended') return { changes: [], next };
      for (const change of page.changes) this.sent.count(change, connection.transport);
      return page;
    } catch (error) {
      if (error instanceof CursorExpired) this.sent.expired();
      throw error;
    } finally {
      subscription?.close();
      connection.end('terminal');
    }
  }

  /** The first page with a change, or the last one before the time is over. A filter may leave nothing of a page. */
  private async first(caller: AuthContext, subscription: ChangeSubscription, timeoutMs: number): Promise<Changes> {
    const deadline = performance.now() + timeoutMs;
    let release: (() => void) | undefined;
    try {
      for (;;) {
        const page = await subscription.read();
        if (page.changes.length > 0 || subscription.isClosed) return page;
        if (!page.isLast) continue;
        const rest = deadline - performance.now();
        if (rest <= 0) return page;
        release ??= this.streams.admit(caller, 'long_poll');
        if (!(await subscription.moved(rest))) return page;
      }
    } finally {
      release?.();
    }
  }
}
