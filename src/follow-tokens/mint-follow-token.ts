import { Injectable } from '@nestjs/common';
import type { FollowRight } from '#protocol/follow-tokens.js';
import type { FollowToken } from '#protocol/snapshots.js';
import type { AuthContext } from '../auth/auth-context.js';
import { NotAuthenticated } from '../auth/auth.errors.js';
import { carried } from '../auth/carried-attributes.js';
import { demandScope } from '../auth/authentication.guard.js';
import type { Claims } from '../auth/follow-token-text.js';
import { callerOf, FollowTokens, scopesOf } from '../auth/follow-tokens.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { demandTask } from '../tasks/demand-task.js';
import { FollowTokensOff } from './follow-tokens.errors.js';
import { timeOfIssue } from './revocations.js';

export interface WantedToken {
  /** Absent: all tasks of the caller. */
  readonly taskId?: string;
  readonly may: readonly FollowRight[];
  readonly seconds: number;
}

/** Makes a token with which a page follows what its backend created. Nothing is stored. */
@Injectable()
export class MintFollowToken {
  constructor(
    private readonly followTokens: FollowTokens,
    private readonly database: Database,
    private readonly ownership: OwnershipPolicy,
    private readonly observer: Observer,
  ) {}

  /**
   * @throws FollowTokensOff
   * @throws AccessDenied when the caller lacks a right that the token would have
   * @throws TaskNotFound when there is no such task to which the holder of the token would have these rights
   */
  execute(auth: AuthContext, { taskId, may, seconds }: WantedToken): Promise<FollowToken> {
    const about = { principalId: auth.subject, ...(taskId !== undefined && { taskId }) };
    return this.observer.command('mint_follow_token', about, async () => {
      if (!this.followTokens.areOn) throw new FollowTokensOff();
      for (const scope of scopesOf(may)) demandScope(auth, scope);
      const { now, issuedAt } = await timeOfIssue(this.database);
      const expiresAt = Math.floor(now + Math.min(seconds * 1000, lifeOf(auth)));
      const { subject, tenantId, appId } = auth;
      const claims: Claims = {
        subject,
        ...(tenantId !== undefined && { tenantId }),
        ...(appId !== undefined && { appId }),
        attributes: carried(auth.attributes),
        ...(taskId !== undefined && { taskId }),
        may,
        issuedAt,
        expiresAt,
      };
      if (taskId !== undefined) await this.demandRights(callerOf(claims, new Date()), taskId);
      return { token: this.followTokens.sign(claims), expiresAt: new Date(expiresAt).toISOString() };
    });
  }

  /** The policy judges the holder of the token, which has fewer scopes than the caller. */
  private async demandRights(holder: AuthContext, taskId: string): Promise<void> {
    await demandTask(this.database, this.ownership, 'mayRead', holder, taskId);
    if (holder.scopes.has('tasks:write')) await demandTask(this.database, this.ownership, 'mayControl', holder, taskId);
  }
}

/** What is left of the caller's own credentials, in milliseconds. */
function lifeOf({ expiresAt }: AuthContext): number {
  const leftMs = expiresAt ? expiresAt.getTime() - Date.now() : Infinity;
  if (leftMs <= 0) throw new NotAuthenticated('The credentials have expired.');
  return leftMs;
}
