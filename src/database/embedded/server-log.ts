import { open, statfs, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { dataDir, EmbeddedPostgresError, INSTEAD, oneLine } from './embedded-postgres-error.js';

const MAX_BYTES = 10 * 1024 * 1024;
const TAIL_BYTES = 4096;
const LITTLE_SPACE_MEBIBYTES = 64;

/** The output of PostgreSQL and initdb, in `postgres.log` beside the cluster. A start empties it when it is large. */
export class ServerLog {
  private readonly path: string;
  private readonly handle: FileHandle;
  private readonly begin: number;

  private constructor(path: string, handle: FileHandle, begin: number) {
    this.path = path;
    this.handle = handle;
    this.begin = begin;
  }

  static async open(directory: string): Promise<ServerLog> {
    const path = join(directory, 'postgres.log');
    const handle = await open(path, 'a+', 0o600);
    let { size } = await handle.stat();
    if (size > MAX_BYTES) {
      await handle.truncate(0);
      size = 0;
    }
    return new ServerLog(path, handle, size);
  }

  get fd(): number {
    return this.handle.fd;
  }

  /** `what` happened, with the last lines of this start, and the free space where it may be the reason. */
  async failure(what: string): Promise<EmbeddedPostgresError> {
    const directory = dirname(this.path);
    const free = await statfs(directory).then(({ bavail, bsize }) => Math.floor((bavail * bsize) / 1024 / 1024));
    const reasons = [...(await this.lastLines()), ...(free < LITTLE_SPACE_MEBIBYTES ? [`${free} MiB are free`] : [])];
    return new EmbeddedPostgresError(
      `${what} in ${dataDir(directory)}: ${oneLine(reasons.join('; '))}. See ${this.path}. ${INSTEAD}`,
    );
  }

  private async lastLines(): Promise<string[]> {
    const { size } = await this.handle.stat();
    const position = Math.max(this.begin, size - TAIL_BYTES);
    const { bytesRead, buffer } = await this.handle.read(Buffer.alloc(TAIL_BYTES), 0, TAIL_BYTES, position);
    const lines = buffer
      .toString('utf8', 0, bytesRead)
      .split('\n')
      .filter((line) => line.trim() !== '');
    const telling = lines.filter((line) => /FATAL|PANIC|ERROR|error:|could not|HINT/.test(line));
    return (telling.length > 0 ? telling : lines).slice(-3).map((line) => line.replace(/^\d{4}-\S+ \S+ \S+ /, ''));
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}
