import { randomUUID } from 'node:crypto';
import { pipeline, type Readable } from 'node:stream';
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { PayloadTooLarge } from '../errors.js';
import { AttachmentStore } from './attachment-store.js';
import { FileMeter } from './file-meter.js';
import { normalisedFilename } from './filename.js';
import { agreedType, foundType, sniffedType } from './media-type.js';
import type { FileClaim } from './multipart-reader.js';
import { beginUpload } from './upload-ledger.js';
import type { UploadAllowance } from './upload-policy.js';
import type { UploadedFile } from './uploaded-file.js';
import { UploadInvalid } from './uploads.errors.js';

/** Decides with each chunk whether there is room for it: the bytes of the chunk, and those of the file so far. Throws to refuse. */
export type Budget = (chunkBytes: number, sizeBytes: number) => void;

/** Streams the bytes of one file to the attachment store. They belong to no task until one takes them. */
@Injectable()
export class StoreFile {
  constructor(
    private readonly store: AttachmentStore,
    private readonly database: Database,
  ) {}

  /** The id of a file that is about to be stored. The caller discards it when no task takes it. */
  newId(): string {
    return randomUUID();
  }

  /** @throws UploadInvalid, AttachmentStoreUnavailable, DatabaseUnavailable, what `budget` throws, and what the stream fails with */
  async execute(
    attachmentId: string,
    { filename: given, mimeType }: FileClaim,
    bytes: Readable,
    budget: Budget,
  ): Promise<UploadedFile> {
    const meter = new FileMeter(budget);
    // A fault on the way fails the meter, and so the store, which rejects with it.
    pipeline(bytes, meter, () => undefined);
    try {
      await beginUpload(this.database, attachmentId);
      await this.store.put(attachmentId, meter);
    } catch (error) {
      meter.destroy();
      throw error;
    }
    const { sizeBytes, sample } = meter;
    const filename = normalisedFilename(given);
    const sniffed = await sniffedType(sample);
    const isDeclared = mimeType !== undefined;
    const contentType = isDeclared ? agreedType(mimeType, sniffed, sample) : foundType(filename, sniffed, sample);
    if (contentType === undefined) throw new UploadInvalid('The bytes of a file are not of its declared type.');
    const file = { attachmentId, filename, contentType, sizeBytes, sha256: meter.sha256() };
    return isDeclared ? file : { ...file, earlierType: 'text/plain' };
  }
}

/** The budget of all files of one body together. */
export function budgetOf({
  maxFileBytes,
  maxTotalBytes,
}: Pick<UploadAllowance, 'maxFileBytes' | 'maxTotalBytes'>): Budget {
  let totalBytes = 0;
  return (chunkBytes, sizeBytes) => {
    totalBytes += chunkBytes;
    if (sizeBytes > maxFileBytes)
      throw new PayloadTooLarge(maxFileBytes, `A file is larger than ${maxFileBytes} bytes`);
    if (totalBytes > maxTotalBytes) throw new PayloadTooLarge(maxTotalBytes, 'The files are too large together');
  };
}
