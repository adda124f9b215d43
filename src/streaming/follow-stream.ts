import { Injectable } from '@nestjs/common';
import type { Beginning } from '#protocol/requests.js';
import type { AuthContext } from '../auth/auth-context.js';
import { OpenSubscription } from '../following/open-subscription.js';
import type { Subscription } from '../following/subscription.js';
import type { Transport } from '../following/transport.js';
import { FeedStream } from './feed-stream.js';
import type { StreamWriter } from './stream-writer.js';
import { OpenStreams } from './open-streams.js';
import { Streams } from './streams.js';

/** Who follows which task, from where, and how. */
export interface Wanted {
  readonly caller: AuthContext;
  readonly taskId: string;
  readonly cursor: string | null | undefined;
  /** Where to begin without a cursor, other than with the first event. */
  readonly from?: Beginning | undefined;
  readonly transport: Transport;
  /** An earlier stream that has to end first. The place is taken before this wait. */
  readonly after?: Promise<void>;
}

/** A task that is followed: the subscription, and the stream's place among those of its caller. */
export interface Followed {
  readonly subscription: Subscription;
  /** Feeds the writer until the task, the subscription or the connection is over. Then calls `over`. */
  feed(writer: StreamWriter, over?: () => void): void;
  /** Closes the subscription and frees the place. May be called more than once. */
  leave(): void;
}

/** Follows one task, over any transport: a place, the right, the attached subscription, and then the transport's own answer. */
@Injectable()
export class FollowStream {
  constructor(
    private readonly streams: Streams,
    private readonly openSubscription: OpenSubscription,
    private readonly feedStream: FeedStream,
    private readonly open: OpenStreams,
  ) {}

  /**
   * Calls `begin` with the followed task, and resolves with what `begin` gives. What `begin` did not feed is left then.
   * No call waits for the end of a feed: Nest and Express would keep their objects of the call as long.
   * @throws TooManyRequests, ServiceUnavailable, and the errors of opening a subscription
   */
  async execute<T>(
    { caller, taskId, cursor, from, transport, after }: Wanted,
    begin: (followed: Followed) => T | Promise<T>,
  ): Promise<T> {
    const release = this.streams.admit(caller, transport);
    let leave = release;
    let isFed = false;
    try {
      await after;
      const subscription = await this.openSubscription.execute(caller, taskId, cursor, transport, from);
      leave = () => {
        subscription.close();
        release();
      };
      const feed = (writer: StreamWriter, over?: () => void) => {
        const shown = this.open.add(caller, writer, () => ({
          taskId,
          cursor: String(subscription.lastEventId),
          lag: subscription.lag,
        }));
        this.feedStream.execute(subscription, this.streams.join(writer, caller), () => {
          shown();
          release();
          over?.();
        });
        isFed = true;
      };
      return await begin({ subscription, feed, leave });
    } finally {
      if (!isFed) leave();
    }
  }
}
