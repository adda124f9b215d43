import { Injectable } from '@nestjs/common';
import { type AuthContext, principalKey } from '../auth/auth-context.js';
import { demandScope } from '../auth/authentication.guard.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { TransportDiagnosticsSink } from '../observability/transport-diagnostics-sink.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import type { Beginning } from '#protocol/requests.js';
import { checkCursor, isCursor, parseCursor } from './cursor.js';
import { demandTask } from '../tasks/demand-task.js';
import { isOver } from '../tasks/domain/task.js';
import { TaskNotFound } from '../tasks/domain/tasks.errors.js';
import { ReadOutput } from '../tasks/read-output.js';
import { readTaskHead } from '../tasks/store/read-task-view.js';
import type { Channel } from './channel.js';
import { Fallbacks } from './fallbacks.js';
import { Hub } from './hub.js';
import { Subscription } from './subscription.js';
import type { Transport } from './transport.js';

/** Checks the right to follow, the task and the cursor, before the first byte of any transport. */
@Injectable()
export class OpenSubscription {
  constructor(
    private readonly hub: Hub,
    private readonly database: Database,
    private readonly ownership: OwnershipPolicy,
    private readonly observer: Observer,
    private readonly diagnostics: TransportDiagnosticsSink,
    private readonly fallbacks: Fallbacks,
    private readonly readOutput: ReadOutput,
  ) {}

  /**
   * The caller closes the subscription. A cursor wins over `from`.
   * @throws TaskNotFound when there is no such task that the caller may read
   * @throws InvalidCursor, CursorAhead; ServiceUnavailable when too many snapshots are being read
   */
  execute(
    auth: AuthContext,
    taskId: string,
    cursorText: string | null | undefined,
    transport: Transport,
    from?: Beginning,
  ): Promise<Subscription> {
    return this.observer.query('follow_task', { principalId: auth.subject, taskId, transport }, async () => {
      demandScope(auth, 'tasks:read');
      // Before the attachment: a stranger's task is not followed, however long the policy takes.
      await demandTask(this.database, this.ownership, 'mayRead', auth, taskId);
      const channel = await this.hub.attach(taskId);
      try {
        const beginning = isCursor(cursorText) ? undefined : from;
        const snapshot = beginning === 'snapshot' ? await this.readOutput.withView(taskId) : undefined;
        const task = snapshot?.view ?? (await readTaskHead(this.database, taskId));
        if (!task) throw new TaskNotFound();
        const cursor = beginning ? task.headEventId : parseCursor(cursorText);
        checkCursor(cursor, task.headEventId);
        channel.advanceTo(task.headEventId);
        if (cursor < task.headEventId) {
          this.diagnostics.replayStarted({ taskId, transport, afterEventId: cursor === 0 ? null : String(cursor) });
        }
        const reader = principalKey(auth, taskId);
        this.fallbacks.began(reader, transport);
        const detach = (c: Channel) => {
          this.hub.detach(c);
          if (!subscription.isOver) this.fallbacks.ended(reader, transport);
        };
        // A task that was set aside has not ended, whatever its row says. Its streams stay open.
        const isEnded = isOver(task.status) && task.asideCode === null;
        const subscription = new Subscription(channel, cursor, task.headEventId, isEnded, detach, snapshot);
        return subscription;
      } catch (error) {
        this.hub.detach(channel);
        throw error;
      }
    });
  }
}
