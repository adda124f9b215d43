import { Injectable } from '@nestjs/common';
import type { BulkKind } from '#protocol/bulk.js';
import { type AuthContext, ownerOf } from '../auth/auth-context.js';
import { demandScope } from '../auth/authentication.guard.js';
import { storedPrincipal } from '../auth/stored-principal.js';
import { Database } from '../database/database.js';
import { currentCorrelationId } from '../observability/correlation.js';
import { Observer } from '../observability/observer.js';
import {
  auditBulk,
  type BulkFilter,
  insertBulk,
  nameTasks,
  readBulk,
  selectTasks,
  startBulk,
  type StoredBulk,
} from './bulk-rows.js';
import { BulkNotFound } from './bulk.errors.js';

/** What a bulk is about: tasks by their ids, or those that match. */
export type Wanted =
  | { readonly ids: readonly string[] }
  | {
      readonly filter: Omit<BulkFilter, 'tenantId' | 'ownerId'>;
      /** Absent: the caller's own tasks. */
      readonly of: { readonly tenantId: string; readonly ownerId: string } | undefined;
      readonly createdBefore: string | undefined;
      readonly max: number;
    };

/**
 * Selects the tasks of a bulk, once: what is shown is what runs, and nothing that the run makes is among it. `RunBulks` does the
 * work, in the name of the caller.
 */
@Injectable()
export class StartBulk {
  constructor(
    private readonly database: Database,
    private readonly observer: Observer,
  ) {}

  /** @throws AccessDenied when the tasks are of another principal, and `tasks:operate` is missing */
  select(auth: AuthContext, kind: BulkKind, wanted: Wanted, isDryRun: boolean): Promise<StoredBulk> {
    return this.observer.command('start_bulk', { principalId: auth.subject }, async () => {
      const caller = ownerOf(auth);
      const of = 'filter' in wanted ? (wanted.of ?? caller) : undefined;
      if (of && (of.ownerId !== caller.ownerId || of.tenantId !== caller.tenantId)) demandScope(auth, 'tasks:operate');
      const correlationId = currentCorrelationId();
      const createdBefore = 'filter' in wanted ? wanted.createdBefore : undefined;
      const principal = storedPrincipal(auth);
      const bulkId = await this.database.transaction(async (tx) => {
        const id = await insertBulk(tx, caller, { kind, principal, createdBefore, isDryRun, correlationId });
        if ('filter' in wanted && of) await selectTasks(tx, id, { ...wanted.filter, ...of }, wanted.max);
        if ('ids' in wanted) await nameTasks(tx, id, wanted.ids);
        if (!isDryRun) await auditBulk(tx, id, of?.ownerId ?? null, correlationId);
        return id;
      });
      return this.demand(caller, bulkId, kind);
    });
  }

  /**
   * Runs what was shown. A repeat runs nothing again.
   * @throws BulkNotFound when the caller was shown no such one
   */
  run(auth: AuthContext, kind: BulkKind, bulkId: string): Promise<StoredBulk> {
    return this.observer.command('start_bulk', { principalId: auth.subject }, async () => {
      const caller = ownerOf(auth);
      await this.demand(caller, bulkId, kind);
      const correlationId = currentCorrelationId();
      await this.database.transaction(async (tx) => {
        if (await startBulk(tx, bulkId)) await auditBulk(tx, bulkId, null, correlationId);
      });
      return this.demand(caller, bulkId, kind);
    });
  }

  /** @throws BulkNotFound when the caller began no such one */
  read(auth: AuthContext, bulkId: string): Promise<StoredBulk> {
    return this.observer.query('read_bulk', { principalId: auth.subject }, () => this.demand(ownerOf(auth), bulkId));
  }

  private async demand(caller: ReturnType<typeof ownerOf>, bulkId: string, kind?: BulkKind): Promise<StoredBulk> {
    const bulk = await readBulk(this.database, caller, bulkId);
    if (!bulk || (kind !== undefined && bulk.kind !== kind)) throw new BulkNotFound();
    return bulk;
  }
}
