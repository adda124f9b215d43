import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../../auth/auth-context.js';
import { demandFollowToken, demandScope } from '../../auth/authentication.guard.js';
import { Database } from '../../database/database.js';
import { Observer } from '../../observability/observer.js';
import { readPresent } from '../../tasks/store/read-changes.js';
import type { Transport } from '../transport.js';
import { type ChangeCursor, cursorFrom, shortEpoch } from './change-cursor.js';
import type { ChangeFilter } from './change-filter.js';
import { scopeFor, type WantedScope } from '../../tasks/scope-for.js';
import { ChangeSubscription, checkChangeCursor } from './change-subscription.js';
import { ChangesHub } from './changes-hub.js';
import { snapshotFrom } from './snapshot.js';

export interface WantedChanges extends WantedScope, ChangeFilter {
  /** Absent, null and empty: from now on. */
  readonly after?: string | null;
}

/** Checks the right to follow and the cursor, before the first byte of any transport. */
@Injectable()
export class OpenChanges {
  constructor(
    private readonly hub: ChangesHub,
    private readonly database: Database,
    private readonly observer: Observer,
  ) {}

  /**
   * The caller closes the subscription.
   * @throws AccessDenied, InvalidRequest, InvalidCursor, CursorExpired
   */
  execute(auth: AuthContext, wanted: WantedChanges, transport: Transport): Promise<ChangeSubscription> {
    return this.observer.query('follow_changes', { principalId: auth.subject, transport }, async () => {
      demandScope(auth, 'tasks:read');
      demandFollowToken(auth, { right: 'read', forOwner: true });
      const scope = scopeFor(auth, wanted);
      const sent = wanted.after ? cursorFrom(wanted.after) : undefined;
      const channel = await this.hub.attach(scope);
      try {
        const cursor = await this.begin(sent);
        return new ChangeSubscription(channel, cursor, wanted, (left) => this.hub.detach(left));
      } catch (error) {
        this.hub.detach(channel);
        throw error;
      }
    });
  }

  private async begin(sent: ChangeCursor | undefined): Promise<ChangeCursor> {
    const present = await readPresent(this.database);
    if (sent) checkChangeCursor(sent, present);
    return sent ?? { epoch: shortEpoch(present.epoch), base: snapshotFrom(present.snapshot, present.at) };
  }
}
