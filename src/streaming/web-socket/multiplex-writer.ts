import type { Credential } from '../../auth/credential.js';
import { TaskNotFound } from '../../tasks/domain/tasks.errors.js';
import { TaskBridgeError } from '../../errors.js';
import type { ChangeWriter } from '../changes/change-stream.js';
import type { StreamEnd } from '../connection.js';
import { comeBackAfterMs } from '../return-time.js';
import type { Subscription } from '../../following/subscription.js';
import { type ClientFrame, WebSocketWriter } from './web-socket-writer.js';

/** The same frames, and further ones that say for one task what a close code says for a connection. */
export class MultiplexWriter extends WebSocketWriter implements ChangeWriter {
  override readonly carriesMany = true;

  override get taskId(): undefined {
    return undefined;
  }

  override caughtUp({ taskId, headEventId }: Subscription): void {
    this.sendJson({ type: 'CAUGHT_UP', taskId, headEventId: String(headEventId) });
  }

  /** The silence is that of the connection, so its heartbeat names no task. */
  override heartbeat(): void {
    this.sendJson({ type: 'HEARTBEAT', live: true });
  }

  protected override credentialExpires({ auth }: Credential): void {
    if (auth.expiresAt) this.sendJson({ type: 'AUTH_EXPIRING', expiresAt: auth.expiresAt.toISOString() });
  }

  override refuse(error: unknown, frame?: ClientFrame): void {
    if (!frame) return super.refuse(error);
    this.sendError(error, frame);
  }

  override streamEnded(taskId: string, why: StreamEnd): void {
    if (why === 'terminal' || why === 'unsubscribed')
      this.sendJson({ type: 'SUBSCRIPTION_ENDED', taskId, reason: why });
    else if (why === 'removed') this.sendError(new TaskNotFound(), { taskId });
    else if (why === 'failed') this.sendError(undefined, { taskId });
    else this.end(why);
  }

  confirmChanges(next: string): void {
    this.sendJson({ type: 'CHANGES_CONFIRMED', next });
  }

  sendChange(json: string): void {
    this.sendText(`{"type":"CHANGE",${json.slice(1)}`);
    this.noteSent();
  }

  changesCaughtUp(next: string): void {
    this.sendJson({ type: 'CHANGES_CAUGHT_UP', next });
  }

  changesEnded(why: StreamEnd, error?: unknown): void {
    if (why === 'unsubscribed') this.sendJson({ type: 'CHANGES_ENDED', reason: why });
    else if (why === 'failed') this.sendError(error, {});
    else this.end(why);
  }

  protected override sayGoodbye(why: StreamEnd): void {
    if (why === 'draining') this.sendJson({ type: 'RECONNECT', afterMs: comeBackAfterMs(), reason: why });
    super.sayGoodbye(why);
  }

  private sendError(error: unknown, { taskId, ref }: ClientFrame): void {
    const { code, message } =
      error instanceof TaskBridgeError ? error : { code: 'INTERNAL_ERROR', message: 'Something went wrong here.' };
    this.sendJson({
      type: 'ERROR',
      ...(taskId !== undefined && { taskId }),
      ...(ref !== undefined && { ref }),
      code,
      message,
    });
  }
}
