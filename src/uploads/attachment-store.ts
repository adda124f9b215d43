import type { Readable } from 'node:stream';

/** Both ends included, both within the file. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Where the bytes of attachments are. Knows no tasks and no names: files go by ids that the service makes, lower-case UUIDs. Which
 * of them count is said by PostgreSQL, where an id is noted down before its bytes come here.
 */
export abstract class AttachmentStore {
  /**
   * Resolves when the bytes would survive a crash; until then nobody can open them. When the stream fails, rejects with that and
   * leaves nothing. Not all bytes are in memory at any time.
   * @throws AttachmentStoreUnavailable
   */
  abstract put(attachmentId: string, bytes: Readable): Promise<void>;

  /**
   * The bytes, or those of the range. Whoever opens it reads it to its end or destroys it.
   * @throws AttachmentMissing, AttachmentStoreUnavailable before there is a stream
   */
  abstract open(attachmentId: string, range?: ByteRange): Promise<Readable>;

  /**
   * Removes what is there of this id, also what a `put` that was cut off by a crash left. An id that is not there is no error.
   * @throws AttachmentStoreUnavailable
   */
  abstract remove(attachmentId: string): Promise<void>;

  /**
   * Whether the store can be reached, for readiness. Asked once a second at most, and given up after a second. Defaults to yes, for
   * stores that are here or nowhere.
   * @throws AttachmentStoreUnavailable
   */
  async checkHealth(): Promise<void> {}
}
