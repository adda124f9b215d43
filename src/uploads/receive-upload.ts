import type { IncomingMessage } from 'node:http';
import { Injectable } from '@nestjs/common';
import type { AuthContext } from '../auth/auth-context.js';
import { HttpConfig } from '../http/http.config.js';
import { PayloadTooLarge } from '../errors.js';
import type { JsonText } from '../json/json-text.js';
import { Observer } from '../observability/observer.js';
import { DiscardUploads } from './discard-uploads.js';
import { FormFields, type FormLayout } from './form-fields.js';
import { readMultipart } from './multipart-reader.js';
import { budgetOf, StoreFile } from './store-file.js';
import { type UploadAllowance, UploadPolicy } from './upload-policy.js';
import type { UploadedFile } from './uploaded-file.js';

/** More than any of our forms has, so a client learns which of its fields is unknown. */
const MAX_FIELDS = 16;
/** Boundary, headers and a long file name. */
const AROUND_A_PART_BYTES = 4096;

/** The content of a multipart body. The files are stored, and belong to no task until one takes them. */
export interface Upload {
  readonly fields: Readonly<Record<string, string | number | JsonText | undefined>>;
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
    private readonly storeFile: StoreFile,
    private readonly discard: DiscardUploads,
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
          const attachmentId = this.storeFile.newId();
          const position = attachmentIds.push(attachmentId) - 1;
          fields.takeFile(name, claim.filename);
          await admission.beforeFile(fields.values);
          files[position] = await this.storeFile.execute(attachmentId, claim, bytes, budget);
        },
      });
      await this.policy.check(auth, files);
      return { fields: fields.values, files, ...(maxOwnedBytes !== undefined && { maxOwnedBytes }) };
    } catch (error) {
      await this.discard.execute(attachmentIds);
      throw error;
    }
  }

  private maxBodyBytes({ maxFiles, maxTotalBytes }: UploadAllowance): number {
    return maxTotalBytes + this.http.maxRequestBodyBytes + (maxFiles + MAX_FIELDS) * AROUND_A_PART_BYTES;
  }
}
