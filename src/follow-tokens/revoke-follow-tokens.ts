import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { FollowTokens } from '../auth/follow-tokens.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { demandTask } from '../tasks/demand-task.js';
import { FollowTokensOff } from './follow-tokens.errors.js';
import { mark } from './revocations.js';

/** Ends all tokens that were minted so far, for a task or by the caller. Other replicas learn of it within a second. */
@Injectable()
export class RevokeFollowTokens {
  constructor(
    private readonly followTokens: FollowTokens,
    private readonly database: Database,
    private readonly ownership: OwnershipPolicy,
    private readonly observer: Observer,
  ) {}

  /**
   * @param taskId absent: all that the caller minted
   * @throws FollowTokensOff
   * @throws TaskNotFound when there is no such task that the caller may control
   */
  execute(auth: AuthContext, taskId: string | undefined): Promise<void> {
    const about = { principalId: auth.subject, ...(taskId !== undefined && { taskId }) };
    return this.observer.command('revoke_follow_tokens', about, async () => {
      if (!this.followTokens.areOn) throw new FollowTokensOff();
      // The tokens of one task may be of several principals. Who may only read ends none of the others'.
      const task =
        taskId === undefined
          ? undefined
          : (await demandTask(this.database, this.ownership, 'mayControl', auth, taskId)).identity;
      this.followTokens.learn([await mark(this.database, task ?? auth)]);
    });
  }
}
