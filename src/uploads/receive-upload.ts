import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { pipeline, type Readable } from 'node:stream';
import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { HttpConfig } from '../http/http.config.js';
import { PayloadTooLarge } from '../errors.js';
import type { JsonText } from '../json/json-text.js';
import { Observer } from '../observability/observer.js';
import { AttachmentStore } from './attachment-store.js';
import { DiscardUploads } from './discard-uploads.js';
import { FileMeter } from './file-meter.js';
import { normalisedFilename } from './filename.js';
import { FormFields, type FormLayout } from './form-fields.js';
import { agreedType, foundType, sniffedType } from './media-type.js';
import { type FileClaim, readMultipart } from './multipart-reader.js';
import { beginUpload } from './upload-ledger.js';
import { type UploadAllowance, UploadPolicy } from './upload-policy.js';
import type { UploadedFile } from './uploaded-file.js';
import { UploadInvalid } from './uploads.errors.js';

/** More than any of our forms has, so a client learns which of its fields is unknown. */
const MAX_FIELDS = 16;
/** Boundary, headers and a long file name. */
const AROUND_A_PART_BYTES = 4096;

/** The content of a multipart body. The files are stored, and belong to no task until one takes them. */
export interface Upload {
  readonly fields: Readonly<Record<string, string | JsonText | undefined>>;
  /** The files in the order of the body. */
  readonly files: readonly UploadedFile[];
  readonly maxOwnedBytes?: number;
}

/** The caller's decisions during the upload. Both may throw a refusal. */
export interface Admission {
  /** The policy has admitted the upload, and nothing is read yet. */
  beforeBody(): Promise<void> | void;
  /** A file will be stored now. `fields`: the fields before it. */
  beforeFile(fields: Upload['fields']): Promise<void> | void;
}

/** Streams the files of a multipart body to the attachment store. All of them are stored, or none is kept. */
@Injectable()
export class ReceiveUpload {
  constructor(
    private readonly policy: UploadPolicy,
    private readonly store: AttachmentStore,
    private readonly discard: DiscardUploads,
    private readonly database: Database,
    private readonly http: HttpConfig,
    private readonly observer: Observer,
  ) {}

  /**
   * @throws the errors of `admission`
   * @throws UploadInvalid, UploadForbidden, PayloadTooLarge, UnsupportedMediaType, MalformedJson, RequestValidationError
   * @throws AttachmentStoreUnavailable, DatabaseUnavailable
   */
  execute(auth: AuthContext, request: IncomingMessage, layout: FormLayout, admission: Admission): Promise<Upload> {
    return this.observer.command('receive_upload', { principalId: auth.subject }, async () => {
      const allowance = await this.policy.admit(auth);
      const maxBodyBytes = this.maxBodyBytes(allowance);
      if (Number(request.headers['content-length'] ?? 0) > maxBodyBytes) {
        throw new PayloadTooLarge(allowance.maxTotalBytes, 'The files are too large together');
      }
      await admission.beforeBody();
      return this.receive(auth, request, layout, admission, allowance, maxBodyBytes);
    });
  }

  private async receive(
    auth: AuthContext,
    request: IncomingMessage,
    layout: FormLayout,
    admission: Admission,
    allowance: UploadAllowance,
    maxBodyBytes: number,
  ): Promise<Upload> {
    const { maxFiles, maxOwnedBytes } = allowance;
    const fields = new FormFields(layout, this.http.maxRequestBodyBytes);
    const budget = budgetOf(allowance);
    const attachmentIds: string[] = [];
    const files: UploadedFile[] = [];
    const limits = { maxFiles, maxFields: MAX_FIELDS, maxFieldBytes: this.http.maxRequestBodyBytes, maxBodyBytes };
    try {
      await readMultipart(request, limits, {
        field: (name, text) => fields.take(name, text),
        file: async (name, claim, bytes) => {
          const attachmentId = randomUUID();
          const position = attachmentIds.push(attachmentId) - 1;
          fields.takeFile(name, claim.filename);
          await admission.beforeFile(fields.values);
          files[position] = await this.take(attachmentId, claim, bytes, budget);
        },
      });
      await this.policy.check(auth, files);
      return { fields: fields.values, files, ...(maxOwnedBytes !== undefined && { maxOwnedBytes }) };
    } catch (error) {
      await this.discard.execute(attachmentIds);
      throw error;
    }
  }

  private async take(
    attachmentId: string,
    { filename: given, mimeType }: FileClaim,
    bytes: Readable,
    budget: (chunkBytes: number, sizeBytes: number) => void,
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

  private maxBodyBytes({ maxFiles, maxTotalBytes }: UploadAllowance): number {
    return maxTotalBytes + this.http.maxRequestBodyBytes + (maxFiles + MAX_FIELDS) * AROUND_A_PART_BYTES;
  }
}

/** The budget of all files of one body together. */
function budgetOf({ maxFileBytes, maxTotalBytes }: UploadAllowance): (chunkBytes: number, sizeBytes: number) => void {
  let totalBytes = 0;
  return (chunkBytes, sizeBytes) => {
    totalBytes += chunkBytes;
    if (sizeBytes > maxFileBytes)
      throw new PayloadTooLarge(maxFileBytes, `A file is larger than ${maxFileBytes} bytes`);
    if (totalBytes > maxTotalBytes) throw new PayloadTooLarge(maxTotalBytes, 'The files are too large together');
  };
}
