import { dirname, resolve } from 'node:path';

/** Why the embedded PostgreSQL does not run. The message is one line for the operator and says what to do. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError';
}

export const INSTEAD = 'Choose another DATA_DIR, or set DATABASE_URL to a PostgreSQL of your own.';

const CAUSES: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  ENOTDIR: 'a file is in the place of a directory',
  EEXIST: 'a file is in the place of a directory',
  ENOTEMPTY: 'it holds files that are no PostgreSQL cluster',
  ENAMETOOLONG: 'the path is too long',
};

/** How a message names the setting and its value; `directory` is the `postgres` directory inside it. */
export function dataDir(directory: string): string {
  return `DATA_DIR (${dirname(resolve(directory))})`;
}

/** Turns an error of the file system or of Node about `directory` into the operator's line. */
export function asRefusal(directory: string, error: unknown): EmbeddedPostgresError {
  if (error instanceof EmbeddedPostgresError) return error;
  const { code = '', path, message } = error as NodeJS.ErrnoException;
  const reason = CAUSES[code] ?? oneLine(message);
  const where = path === undefined ? '' : ` at ${path}`;
  return new EmbeddedPostgresError(
    `${dataDir(directory)} cannot hold the embedded PostgreSQL: ${reason}${where}. ${INSTEAD}`,
    { cause: error },
  );
}

export function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim().slice(0, 400);
}
