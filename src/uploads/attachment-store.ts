import type { Readable } from 'node:stream';

/** Both ends included, both within the file. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Stores the bytes of attachments. It knows no tasks and no names: the service names files by lower-case UUIDs. PostgreSQL
 * decides which files count, and records an id before its bytes come here.
 */
export abstract class AttachmentStore {
  /**
   * Resolves when the bytes would survive a crash. Until then `open` does not find them. When the stream fails, rejects with that
   * error and leaves nothing. It never holds all bytes in memory.
   * @throws AttachmentStoreUnavailable
   */
  abstract put(attachmentId: string, bytes: Readable): Promise<void>;

  /**
   * The bytes, or those of the range. The caller reads the stream to its end or destroys it.
   * @throws AttachmentMissing, AttachmentStoreUnavailable before there is a stream
   */
  abstract open(attachmentId: string, range?: ByteRange): Promise<Readable>;

  /**
   * Removes all bytes of this id, also those of a `put` that a crash cut off. An unknown id is no error.
   * @throws AttachmentStoreUnavailable
   */
  abstract remove(attachmentId: string): Promise<void>;

  /**
   * Resolves when the store answers and has room, for readiness. The service asks at most once a second, and waits at most a
   * second. Defaults to yes.
   * @throws AttachmentStoreUnavailable
   */
  async checkHealth(): Promise<void> {}
}
