import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../../auth/auth-context.js';
import type { ChangeSubscription } from '../../following/changes/change-subscription.js';
import { OpenChanges, type WantedChanges } from '../../following/changes/open-changes.js';
import type { Transport } from '../../following/transport.js';
import { CursorExpired } from '../../tasks/domain/tasks.errors.js';
import { OpenStreams } from '../open-streams.js';
import { Streams } from '../streams.js';
import { ChangeStream, type ChangeWriter } from './change-stream.js';
import { SentChanges } from './sent-changes.js';

/** A feed that is followed: the subscription, and the stream's place among those of its caller. */
export interface FollowedChanges {
  readonly subscription: ChangeSubscription;
  /** Feeds the writer until the subscription or the connection is over. Then calls `over`. */
  feed(writer: ChangeWriter, over?: () => void): void;
}

/** Follows the changes of a scope, over any transport: a place, the right, the attached subscription, and then the transport's own answer. */
@Injectable()
export class FollowChanges {
  constructor(
    private readonly streams: Streams,
    private readonly openChanges: OpenChanges,
    private readonly changeStream: ChangeStream,
    private readonly sent: SentChanges,
    private readonly open: OpenStreams,
  ) {}

  /**
   * Calls `begin` with the followed feed, and resolves with what `begin` gives. What `begin` did not feed is left then.
   * @throws TooManyRequests, ServiceUnavailable, and the errors of opening a subscription
   */
  async execute<T>(
    caller: AuthContext,
    wanted: WantedChanges,
    transport: Transport,
    begin: (followed: FollowedChanges) => T | Promise<T>,
  ): Promise<T> {
    const release = this.streams.admit(caller, transport);
    let leave = release;
    let isFed = false;
    try {
      const subscription = await this.openChanges.execute(caller, wanted, transport);
      leave = () => {
        subscription.close();
        release();
      };
      const feed = (writer: ChangeWriter, over?: () => void) => {
        isFed = true;
        const shown = this.open.add(caller, writer, () => ({ changesOf: subscription.scope }));
        this.changeStream.execute(subscription, this.streams.join(writer, caller), () => {
          shown();
          release();
          over?.();
        });
      };
      return await begin({ subscription, feed });
    } catch (error) {
      if (error instanceof CursorExpired) this.sent.expired();
      throw error;
    } finally {
      if (!isFed) leave();
    }
  }
}
