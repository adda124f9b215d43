import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { AttachmentStore } from '../../src/uploads/attachment-store.js';
import { FilesystemAttachmentStore } from '../../src/uploads/filesystem-attachment-store.js';
import { NoAttachmentStore } from '../../src/uploads/no-attachment-store.js';
import { S3AttachmentStore } from '../../src/uploads/s3-attachment-store.js';
import { AttachmentMissing, AttachmentStoreUnavailable } from '../../src/uploads/uploads.errors.js';
import { S3_CREDENTIALS, type S3Server, startS3Server } from '../support/s3-server.js';
import { eventually, temporaryDirectory } from '../support/service.js';

const MEBIBYTE = 1024 * 1024;

let directory: string;
let s3: S3Server;

beforeAll(async () => {
  Object.assign(process.env, S3_CREDENTIALS);
  [directory, s3] = await Promise.all([temporaryDirectory(), startS3Server()]);
});

afterAll(() => s3.stop());

const filesystemStore = () => new FilesystemAttachmentStore(join(directory, 'attachments'));
const s3Store = () => new S3AttachmentStore({ ...s3, forcePathStyle: true });

/** The bytes in pieces of 64 KiB, as a socket gives them. */
function inPieces(bytes: Buffer): Readable {
  const pieces = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, i) =>
    bytes.subarray(i * 65_536, (i + 1) * 65_536),
  );
  return Readable.from(pieces);
}

/** Gives these bytes and then fails. */
function failingAfter(bytes: Buffer, failure: Error): Readable {
  return Readable.from(
    (async function* () {
      yield* inPieces(bytes);
      throw failure;
    })(),
  );
}

describe.each<[string, () => AttachmentStore]>([
  ['The filesystem store', filesystemStore],
  ['The S3 store', s3Store],
])('%s', (_name, make) => {
  const stored = async (bytes: Buffer): Promise<string> => {
    const id = randomUUID();
    await make().put(id, inPieces(bytes));
    return id;
  };

  it.each([
    ['an empty file', 0],
    ['a byte', 1],
    ['a file of one part', 3 * MEBIBYTE],
    ['a file of exactly one part', 5 * MEBIBYTE],
    ['a file of several parts', 11 * MEBIBYTE + 1],
  ])('gives back the bytes of %s', async (_what, size) => {
    const bytes = randomBytes(size);
    const id = await stored(bytes);
    expect((await buffer(await make().open(id))).equals(bytes)).toBe(true);
  });

  it.each([
    ['the first byte', 0, 0],
    ['the last byte', 99_999, 99_999],
    ['the middle', 60_000, 70_000],
    ['the whole', 0, 99_999],
  ])('gives a range: %s', async (_what, first, last) => {
    const bytes = randomBytes(100_000);
    const id = await stored(bytes);
    const part = await buffer(await make().open(id, { first, last }));
    expect(part.equals(bytes.subarray(first, last + 1))).toBe(true);
  });

  it('keeps many files that are put at once apart', async () => {
    const files = Array.from({ length: 12 }, (_, n) => Buffer.alloc(70_000, n));
    const ids = await Promise.all(files.map(stored));
    const read = await Promise.all(ids.map(async (id) => buffer(await make().open(id))));
    expect(read.map((bytes, n) => bytes.equals(files[n] as Buffer))).toEqual(files.map(() => true));
  });

  it('says that a file that nobody put is missing', async () => {
    await expect(make().open(randomUUID())).rejects.toBeInstanceOf(AttachmentMissing);
    await expect(make().open(randomUUID(), { first: 0, last: 0 })).rejects.toBeInstanceOf(AttachmentMissing);
  });

  it('removes a file, and takes it easy when there is none', async () => {
    const id = await stored(Buffer.from('gone soon'));
    await make().remove(id);
    await make().remove(id);
    await expect(make().open(id)).rejects.toBeInstanceOf(AttachmentMissing);
  });

  it.each([
    ['at once', 0],
    ['in the first part', 100_000],
    ['in the second part', 7 * MEBIBYTE],
  ])('rejects with the failure of a stream that fails %s, and leaves nothing', async (_when, size) => {
    const [id, failure] = [randomUUID(), new Error('the line was cut')];
    await expect(make().put(id, failingAfter(randomBytes(size), failure))).rejects.toBe(failure);
    await expect(make().open(id)).rejects.toBeInstanceOf(AttachmentMissing);
  });

  it('shows nothing of a file before all of it is there', async () => {
    const id = randomUUID();
    const bytes = new Readable({ read() {} });
    const putting = make().put(id, bytes);
    bytes.push(Buffer.alloc(6 * MEBIBYTE));
    await expect(make().open(id)).rejects.toBeInstanceOf(AttachmentMissing);
    bytes.push(null);
    await putting;
    expect((await buffer(await make().open(id))).length).toBe(6 * MEBIBYTE);
  });
});

describe('The filesystem store', () => {
  const pathOf = (id: string) => join(directory, 'attachments', id.slice(-2), id);

  it('makes files that only the service may read', async () => {
    const id = randomUUID();
    await filesystemStore().put(id, Readable.from([Buffer.from('private')]));
    expect((await stat(pathOf(id))).mode & 0o777).toBe(0o600);
    expect((await stat(join(directory, 'attachments'))).mode & 0o777).toBe(0o700);
  });

  it('writes while it still receives', async () => {
    const id = randomUUID();
    const bytes = new Readable({ read() {} });
    const putting = filesystemStore().put(id, bytes);
    bytes.push(Buffer.alloc(MEBIBYTE));
    await eventually('the bytes are on the disk', async () => (await stat(`${pathOf(id)}.part`)).size === MEBIBYTE);
    bytes.push(null);
    await putting;
  });

  it('leaves no half of a file that was cut off', async () => {
    const id = randomUUID();
    const cut = failingAfter(randomBytes(200_000), new Error('cut'));
    await expect(filesystemStore().put(id, cut)).rejects.toThrow('cut');
    expect((await readdir(join(pathOf(id), '..'))).filter((name) => name.startsWith(id))).toEqual([]);
  });

  it('removes by the id what a crash has left of a file', async () => {
    const id = randomUUID();
    await mkdir(join(pathOf(id), '..'), { recursive: true });
    await writeFile(`${pathOf(id)}.part`, 'half of it');
    await filesystemStore().remove(id);
    expect((await readdir(join(pathOf(id), '..'))).filter((name) => name.startsWith(id))).toEqual([]);
  });

  it.each(['../../etc/passwd', 'a', '', `${randomUUID()}/..`, randomUUID().toUpperCase()])(
    'refuses %j, which is no id of the service, as it would become a path',
    async (id) => {
      await expect(filesystemStore().put(id, Readable.from([]))).rejects.toThrow(TypeError);
      await expect(filesystemStore().open(id)).rejects.toThrow(TypeError);
      await expect(filesystemStore().remove(id)).rejects.toThrow(TypeError);
    },
  );

  it('that has no directory to write to is unavailable', async () => {
    const file = join(directory, 'a-file');
    await writeFile(file, '');
    const store = new FilesystemAttachmentStore(join(file, 'attachments'));
    await expect(store.put(randomUUID(), Readable.from(['x']))).rejects.toBeInstanceOf(AttachmentStoreUnavailable);
  });
});

describe('The S3 store', () => {
  it('sends a part while it still receives the next', async () => {
    const id = randomUUID();
    const bytes = new Readable({ read() {} });
    const putting = s3Store().put(id, bytes);
    bytes.push(Buffer.alloc(6 * MEBIBYTE));
    const isSent = () => s3.requests.some((request) => request.startsWith('PUT ') && request.includes(id));
    await eventually('the first part is sent', isSent);
    bytes.push(null);
    await putting;
  });

  it('aborts a multipart upload that is cut off, whose parts would be paid for and shown by nothing', async () => {
    const id = randomUUID();
    const cut = failingAfter(randomBytes(7 * MEBIBYTE), new Error('cut'));
    await expect(s3Store().put(id, cut)).rejects.toThrow('cut');
    const ours = s3.requests.filter((request) => request.includes(id)).map((request) => request.split(' ')[0]);
    expect(ours).toEqual(['POST', 'PUT', 'DELETE']);
  });

  it('is unavailable when nobody answers', async () => {
    const store = new S3AttachmentStore({ ...s3, endpoint: await closedEndpoint(), forcePathStyle: true });
    await expect(store.put(randomUUID(), Readable.from(['x']))).rejects.toBeInstanceOf(AttachmentStoreUnavailable);
    await expect(store.open(randomUUID())).rejects.toBeInstanceOf(AttachmentStoreUnavailable);
    await expect(store.remove(randomUUID())).rejects.toBeInstanceOf(AttachmentStoreUnavailable);
  });

  it('is unavailable when there is no such bucket', async () => {
    const store = new S3AttachmentStore({ ...s3, bucket: 'another', forcePathStyle: true });
    await expect(store.put(randomUUID(), Readable.from(['x']))).rejects.toBeInstanceOf(AttachmentStoreUnavailable);
    await expect(store.open(randomUUID())).rejects.toBeInstanceOf(AttachmentStoreUnavailable);
  });
});

describe('No store', () => {
  it('takes nothing, has nothing, and does not claim to have removed what another may have', async () => {
    const store = new NoAttachmentStore();
    await expect(store.put(randomUUID(), Readable.from(['x']))).rejects.toMatchObject({ kind: 'unsupported' });
    await expect(store.open(randomUUID())).rejects.toBeInstanceOf(AttachmentMissing);
    await expect(store.remove(randomUUID())).rejects.toBeInstanceOf(AttachmentMissing);
  });
});

/** The address of a port on which nobody listens any more. */
async function closedEndpoint(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
}
