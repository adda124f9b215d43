import { execFile } from 'node:child_process';
import { cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { type Build, buildOf, RELEASE_0_1_0 } from '../support/builds.js';
import { connected } from '../support/fold.js';
import { temporaryDirectory } from '../support/service.js';

/** See the README there. */
export const FIXTURE = fileURLToPath(new URL('release-0.1.0/', import.meta.url));

/** How long npm may take to install and build 0.1.0 on an empty cache. */
export const BUILD_MS = 600_000;

/** From git, built at its first use. */
export async function release(): Promise<Build & { readonly folder: string }> {
  const build = await buildOf(RELEASE_0_1_0);
  return { ...build, folder: join(build.dist, '..') };
}

/** What 0.1.0 told clients of its installation, before it was killed. */
export interface Told {
  readonly tasks: readonly ToldTask[];
  /** Requests that had an effect. This is how 0.1.0 answered each when it came again. */
  readonly repeats: readonly Repeat[];
}

export interface ToldTask {
  readonly name: string;
  readonly taskId: string;
  /** With `%` escapes, as the host module of the installation reads them. */
  readonly headers: Readonly<Record<string, string>>;
  /** The body of `GET /api/v1/tasks/{taskId}`. */
  readonly snapshot: string;
  /** The envelopes, as they were delivered. */
  readonly events: readonly string[];
}

export interface Repeat {
  readonly what: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Form;
  readonly status: number;
  readonly answer: string;
}

/** A multipart body. */
export interface Form {
  readonly fields: Readonly<Record<string, string>>;
  readonly files: readonly { readonly name: string; readonly type: string; readonly base64: string }[];
}

export async function told(): Promise<Told> {
  return JSON.parse(await readFile(join(FIXTURE, 'told.json'), 'utf8')) as Told;
}

export function requestOf({ headers, body }: Pick<Repeat, 'headers' | 'body'>): RequestInit {
  if (typeof body === 'string')
    return { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body };
  const form = new FormData();
  for (const [name, value] of Object.entries(body.fields)) form.set(name, value);
  for (const { name, type, base64 } of body.files)
    form.append('attachments', new File([Buffer.from(base64, 'base64')], name, { type }));
  return { method: 'POST', headers, body: form };
}

/** Loads the dump into an empty database. Answers a directory with the bytes of its attachments, for DATA_DIR. */
export async function restore(ownerUrl: string): Promise<string> {
  const dump = await readFile(join(FIXTURE, 'installation.sql'), 'utf8');
  await connected(ownerUrl, (owner) => owner.query(dump));
  const directory = await temporaryDirectory();
  await cp(join(FIXTURE, 'attachments'), join(directory, 'attachments'), { recursive: true });
  return directory;
}

/** The worker SDK of 0.1.0, as `npm pack` made it: the address of its module. It has no dependencies. */
export async function unpackedWorkerSdk(): Promise<string> {
  const directory = await temporaryDirectory();
  await promisify(execFile)('tar', ['-xzf', join(FIXTURE, 'taskbridge-worker-0.1.0.tgz'), '-C', directory]);
  return pathToFileURL(join(directory, 'package/dist/worker-api.js')).href;
}
