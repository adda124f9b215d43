import { Injectable } from '@nestjs/common';
import type { ChangeSubscription } from '../../following/changes/change-subscription.js';
import { Log } from '../../observability/log.js';
import { CursorExpired } from '../../tasks/domain/tasks.errors.js';
import type { StreamEnd } from '../connection.js';
import type { StreamWriter } from '../stream-writer.js';
import { StreamingConfig } from '../streaming.config.js';
import { changeJson } from './change-json.js';
import { SentChanges } from './sent-changes.js';

/** What a transport that carries a feed of changes says besides. */
export interface ChangeWriter extends StreamWriter {
  /** @param json a `TaskChange` */
  sendChange(json: string, cursor: string): void;
  /** The client has all that was there, and this cursor. */
  changesCaughtUp(next: string): void;
  /** @param error why it failed */
  changesEnded(why: StreamEnd, error?: unknown): void;
}

/** Brings changes to a client, as fast as the client reads. It is a loop with promises: changes are rarer than events. */
@Injectable()
export class ChangeStream {
  constructor(
    private readonly config: StreamingConfig,
    private readonly sent: SentChanges,
    private readonly log: Log,
  ) {}

  /** Returns at once. Calls `release` when the subscription or the connection is over. */
  execute(subscription: ChangeSubscription, writer: ChangeWriter, release: () => void): void {
    writer.onSilence(this.config.heartbeatSeconds * 1000, () => {
      // Unread bytes are a sign of life themselves.
      if (writer.bufferedBytes === 0) writer.heartbeat();
    });
    const leave = () => subscription.close();
    writer.atEnd(leave);
    void this.run(subscription, writer).then(({ why, error }) => {
      writer.forget(leave);
      subscription.close();
      release();
      writer.changesEnded(writer.why ?? why, error);
    });
  }

  /** Resolves at the end of the stream, with its reason. */
  private async run(
    subscription: ChangeSubscription,
    writer: ChangeWriter,
  ): Promise<{ why: StreamEnd; error?: unknown }> {
    try {
      while (!subscription.isClosed) {
        const { changes, next, isLast } = await subscription.read();
        for (const change of changes) {
          if (writer.isFull && !(await writer.drained())) return { why: 'slow_consumer' };
          writer.judgeCredential();
          if (subscription.isClosed) return { why: 'unsubscribed' };
          writer.sendChange(changeJson(change), change.cursor);
          this.sent.count(change, writer.transport);
        }
        if (!isLast || subscription.isClosed) continue;
        writer.changesCaughtUp(next);
        await subscription.moved();
      }
      return { why: 'unsubscribed' };
    } catch (error) {
      if (error instanceof CursorExpired) this.sent.expired();
      else this.log.error({ transport: writer.transport, err: error }, 'stream.failed');
      return { why: 'failed', error };
    }
  }
}
