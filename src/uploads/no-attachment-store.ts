import type { Readable } from 'node:stream';
import { UnsupportedMediaType } from '../errors.js';
import { AttachmentStore } from './attachment-store.js';
import { AttachmentMissing } from './uploads.errors.js';

/** The store without attachments: the edge answers multipart with 415. */
export class NoAttachmentStore extends AttachmentStore {
  override put(_attachmentId: string, bytes: Readable): Promise<void> {
    bytes.destroy();
    return Promise.reject(new UnsupportedMediaType('Files cannot be attached here'));
  }

  override open(attachmentId: string): Promise<Readable> {
    return Promise.reject(new AttachmentMissing(attachmentId));
  }

  /** Never reports a removal: the store of an earlier configuration may still have the bytes. */
  override remove(attachmentId: string): Promise<void> {
    return Promise.reject(new AttachmentMissing(attachmentId));
  }
}
