import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { v4 as uuidv4, v5 as uuidv5 } from 'uuid';
import type { BulkKind } from '#protocol/bulk.js';
import { type AuthContext, ownerOf, principalKey } from '../auth/auth-context.js';
import { demandScope } from '../auth/authentication.guard.js';
import { storedPrincipal } from '../auth/stored-principal.js';
import { Database } from '../database/database.js';
import { currentCorrelationId } from '../observability/correlation.js';
import { Observer } from '../observability/observer.js';
import { IdempotencyConflict } from '../tasks/domain/tasks.errors.js';
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

/** The id of a bulk follows from its request, so a repeat finds it. */
const NAMESPACE = 'b5a0f1c4-6f0d-4f0c-9a57-2c1b0f3f8d11';

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

  /**
   * `clientRequestId`: runs it at once, and a repeat is the same bulk; absent: shows it.
   * @throws AccessDenied when the tasks are of another principal, and `tasks:operate` is missing
   * @throws IdempotencyConflict when the caller used the clientRequestId for another bulk
   */
  select(auth: AuthContext, kind: BulkKind, wanted: Wanted, clientRequestId?: string): Promise<StoredBulk> {
    return this.observer.command('start_bulk', { principalId: auth.subject }, async () => {
      const caller = ownerOf(auth);
      const of = 'filter' in wanted ? (wanted.of ?? caller) : undefined;
      if (of && (of.ownerId !== caller.ownerId || of.tenantId !== caller.tenantId)) demandScope(auth, 'tasks:operate');
      const correlationId = currentCorrelationId();
      const createdBefore = 'filter' in wanted ? wanted.createdBefore : undefined;
      const principal = storedPrincipal(auth);
      const isDryRun = clientRequestId === undefined;
      const bulkId = isDryRun ? uuidv4() : uuidv5(principalKey(auth, clientRequestId), NAMESPACE);
      const fingerprint = fingerprintOf(kind, wanted);
      const bulk = { bulkId, fingerprint, kind, principal, createdBefore, isDryRun, correlationId };
      await this.database.transaction(async (tx) => {
        if (!(await insertBulk(tx, caller, bulk))) return;
        if ('filter' in wanted && of) await selectTasks(tx, bulkId, { ...wanted.filter, ...of }, wanted.max);
        if ('ids' in wanted) await nameTasks(tx, bulkId, wanted.ids);
        if (!isDryRun) await auditBulk(tx, bulkId, of?.ownerId ?? null, correlationId);
      });
      const stored = await this.demand(caller, bulkId);
      if (stored.fingerprint !== fingerprint) throw new IdempotencyConflict('clientRequestId');
      return stored;
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

/** Ids are of one spelling here, and the members have one order. */
function fingerprintOf(kind: BulkKind, wanted: Wanted): string {
  const content = 'ids' in wanted ? [...new Set(wanted.ids)].sort() : wantedFilter(wanted);
  return createHash('sha256')
    .update(JSON.stringify([kind, content]))
    .digest('hex');
}

function wantedFilter({ filter, of, createdBefore, max }: Exclude<Wanted, { readonly ids: unknown }>): unknown {
  const { status, taskType, suspended } = filter;
  return { filter: { status, taskType, suspended }, of: of && [of.tenantId, of.ownerId], createdBefore, max };
}
