import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { OpenSubscription } from '../following/open-subscription.js';
import type { Subscription } from '../following/subscription.js';
import { FeedStream } from './feed-stream.js';
import type { StreamWriter } from './stream-writer.js';
import { Streams } from './streams.js';

/** One task over one connection of its own, to the task's end. */
@Injectable()
export class FollowStream {
  constructor(
    private readonly streams: Streams,
    private readonly openSubscription: OpenSubscription,
    private readonly feedStream: FeedStream,
  ) {}

  /**
   * Resolves when the stream has begun. `begin` answers the client and returns the writer, or undefined when that was all.
   * @throws TooManyRequests, ServiceUnavailable, and the errors of opening a subscription
   */
  async execute(
    caller: AuthContext,
    taskId: string,
    cursor: string | undefined,
    begin: (subscription: Subscription) => StreamWriter | undefined,
  ): Promise<void> {
    const release = this.streams.admit(caller, 'sse');
    try {
      const subscription = await this.openSubscription.execute(caller, taskId, cursor, 'sse');
      const writer = begin(subscription);
      if (writer === undefined) {
        subscription.close();
        release();
        return;
      }
      // No call waits for the end: Nest and Express would keep their objects of the call as long.
      this.feedStream.execute(subscription, this.streams.join(writer), release);
    } catch (error) {
      release();
      throw error;
    }
  }
}
