import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { AttachmentStore, type ByteRange } from './attachment-store.js';
import { AttachmentMissing, AttachmentStoreUnavailable } from './uploads.errors.js';

/** The ids that the service makes. Any other text could be a path. */
const ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** No room: the disk is full, or the quota of the service is used up. */
const FULL = new Set(['ENOSPC', 'EDQUOT']);
/** Permission, hardware: further faults that an operator mends. */
const TROUBLE = new Set(['EROFS', 'EACCES', 'EPERM', 'EMFILE', 'ENFILE', 'EIO', 'ESTALE', 'ENOTDIR']);

/** What a probe writes: more than a file system keeps beside the name of a file. */
const PROBE = Buffer.alloc(64 * 1024);

/**
 * A file per attachment, for one replica, or for several that share the directory. A file gets its name only when all of it is on
 * the disk. Spread over 256 directories, since some file systems are slow with large ones.
 */
export class FilesystemAttachmentStore extends AttachmentStore {
  readonly #directory: string;

  constructor(directory: string) {
    super();
    this.#directory = resolve(directory);
  }

  override async put(attachmentId: string, bytes: Readable): Promise<void> {
    const path = this.pathOf(attachmentId);
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await writeDurably(partOf(path), bytes);
      await rename(partOf(path), path);
      await syncDirectory(dirname(path));
    } catch (error) {
      bytes.destroy();
      await rm(partOf(path), { force: true }).catch(() => undefined);
      throw translated(error);
    }
  }

  override async open(attachmentId: string, range?: ByteRange): Promise<Readable> {
    const file = await open(this.pathOf(attachmentId), 'r').catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') throw new AttachmentMissing(attachmentId);
      throw translated(error);
    });
    return file.createReadStream(range && { start: range.first, end: range.last });
  }

  override async remove(attachmentId: string): Promise<void> {
    const path = this.pathOf(attachmentId);
    try {
      await rm(partOf(path), { force: true });
      await rm(path, { force: true });
    } catch (error) {
      throw translated(error);
    }
  }

  /** Writes, because a full disk and a read-only one still answer. Leaves nothing. */
  override async checkHealth(): Promise<void> {
    const path = join(this.#directory, `probe-${randomUUID()}`);
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await writeFile(path, PROBE, { mode: 0o600 });
    } catch (error) {
      throw translated(error);
    } finally {
      await rm(path, { force: true }).catch(() => undefined);
    }
  }

  private pathOf(attachmentId: string): string {
    if (!ID.test(attachmentId)) throw new TypeError('not an id of an attachment');
    return join(this.#directory, attachmentId.slice(-2), attachmentId);
  }
}

/** Derived from the id, so the id is enough to remove the remains of a crash. */
function partOf(path: string): string {
  return `${path}.part`;
}

async function writeDurably(path: string, bytes: Readable): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    // Chunk by chunk. Not through a write stream: with `autoClose: false` it keeps the file open.
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A new name is durable when its directory is. */
async function syncDirectory(path: string): Promise<void> {
  let directory: FileHandle | undefined;
  try {
    directory = await open(path, 'r');
    await directory.sync();
  } finally {
    await directory?.close();
  }
}

function translated(error: unknown): unknown {
  const code = codeOf(error) ?? '';
  if (FULL.has(code)) return new AttachmentStoreUnavailable(error, 'The attachment store has no room.');
  return TROUBLE.has(code) ? new AttachmentStoreUnavailable(error) : error;
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}
