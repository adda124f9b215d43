import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import type { Transport } from '../following/transport.js';
import type { StreamWriter } from './stream-writer.js';

/** What a stream follows, as it is now. */
export interface Followed {
  readonly taskId?: string;
  /** The id of the last event that was sent. */
  readonly cursor?: string;
  /** Events behind the cursor. */
  readonly lag?: number;
  readonly changesOf?: { readonly ownerId?: string; readonly tenantId?: string; readonly all?: boolean };
}

/** A stream that is open on this replica, as it is now. */
export interface OpenStream extends Followed {
  readonly streamId: string;
  readonly transport: Transport;
  readonly principalId: string;
  readonly tenantId?: string;
  readonly bufferedBytes: number;
  readonly since: string;
}

interface Entry {
  readonly caller: AuthContext;
  readonly writer: StreamWriter;
  readonly since: Date;
  followed(): Followed;
}

/** The streams of this replica one by one, for operators. A connection that carries many has one for each. */
@Injectable()
export class OpenStreams {
  readonly #streams = new Map<string, Entry>();

  /** `followed` is called when somebody looks. Call the returned function at the end of the stream. */
  add(caller: AuthContext, writer: StreamWriter, followed: () => Followed): () => void {
    const streamId = randomUUID();
    this.#streams.set(streamId, { caller, writer, since: new Date(), followed });
    return () => this.#streams.delete(streamId);
  }

  get size(): number {
    return this.#streams.size;
  }

  /** At most `most` of them, those with the most unsent bytes first. */
  list(most: number): readonly OpenStream[] {
    return [...this.#streams]
      .map(([streamId, { caller, writer, since, followed }]) => ({
        ...{ streamId, transport: writer.transport, principalId: caller.subject },
        ...(caller.tenantId !== undefined && { tenantId: caller.tenantId }),
        ...followed(),
        ...{ bufferedBytes: writer.bufferedBytes, since: since.toISOString() },
      }))
      .sort((a, b) => b.bufferedBytes - a.bufferedBytes || a.since.localeCompare(b.since))
      .slice(0, most);
  }

  has(streamId: string): boolean {
    return this.#streams.has(streamId);
  }

  /** Ends its connection, as one that is too old: the client may come back. Whether it was there. */
  end(streamId: string): boolean {
    const stream = this.#streams.get(streamId);
    stream?.writer.end('max_age');
    return stream !== undefined;
  }
}
