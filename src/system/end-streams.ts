import { Injectable } from '@nestjs/common';
import { type AuthContext, ownerOf } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { ProtocolError } from '../errors.js';
import { currentCorrelationId } from '../observability/correlation.js';
import { Log } from '../observability/log.js';
import { Observer } from '../observability/observer.js';
import { Trouble } from '../observability/trouble.js';
import { listReplicas } from '../replicas/replica-rows.js';
import { Rounds } from '../rounds.js';
import { OpenStreams } from '../streaming/open-streams.js';
import { insertAuditEntry } from '../tasks/store/audit.js';
import { readEndedStreams } from '../tasks/store/ended-streams.js';
import type { SystemFacts } from './system-facts.js';

const EVERY_MS = 5_000;
const MOST_REPLICAS = 200;

class StreamNotFound extends ProtocolError {
  readonly code = 'NOT_FOUND';
  constructor() {
    super('No replica has such a stream.');
  }
}

/**
 * Ends a stream for an operator, on any replica. The entry of the audit is the command, and the replica that has the stream reads it
 * within a round.
 */
@Injectable()
export class EndStreams {
  readonly #trouble: Trouble;
  readonly #rounds = new Rounds(
    () => this.round(),
    () => EVERY_MS,
  );

  constructor(
    private readonly database: Database,
    private readonly streams: OpenStreams,
    private readonly observer: Observer,
    log: Log,
  ) {
    this.#trouble = new Trouble(log, 'end_streams.failed', 'end_streams.recovered');
  }

  start(): void {
    this.#rounds.start();
  }

  stop(): Promise<void> {
    return this.#rounds.stop();
  }

  /** @throws StreamNotFound when neither this replica has it, nor another one has told of it */
  execute(
    auth: AuthContext,
    streamId: string,
  ): Promise<{ readonly streamId: string; readonly status: 'ENDED' | 'ENDING' }> {
    return this.observer.command('end_stream', { principalId: auth.subject }, async (note) => {
      const isOwn = this.streams.has(streamId);
      if (!isOwn && !(await this.isElsewhere(streamId))) throw new StreamNotFound();
      const { tenantId } = ownerOf(auth);
      const correlationId = currentCorrelationId();
      const about = { principalId: auth.subject, tenantId, action: 'end_stream', subject: streamId, correlationId };
      await insertAuditEntry(this.database, about);
      const status = this.streams.end(streamId) ? 'ENDED' : 'ENDING';
      note({ outcome: status });
      return { streamId, status };
    });
  }

  private async isElsewhere(streamId: string): Promise<boolean> {
    const rows = await listReplicas(this.database, MOST_REPLICAS);
    return rows.some(
      ({ isLive, facts }) =>
        isLive && (facts as SystemFacts | null)?.shownStreams?.some((stream) => stream.streamId === streamId),
    );
  }

  private async round(): Promise<void> {
    if (this.streams.size === 0) return;
    try {
      for (const streamId of await readEndedStreams(this.database)) this.streams.end(streamId);
      this.#trouble.worked();
    } catch (error) {
      this.#trouble.failed(error);
    }
  }
}
