import { ProtocolError } from '../errors.js';

/** The multipart body is not well-formed, or a file in it is not of its declared type. */
export class UploadInvalid extends ProtocolError {
  override readonly code = 'UPLOAD_VALIDATION_ERROR';
}

/** This principal may not attach files, or not of this size. */
export class UploadForbidden extends ProtocolError {
  override readonly code = 'UPLOAD_FORBIDDEN';
}

/** The attachment store does not answer, or has no room. */
export class AttachmentStoreUnavailable extends ProtocolError {
  override readonly code = 'SERVICE_UNAVAILABLE';
  override readonly retryAfterSeconds = 5;

  constructor(cause: unknown, message = 'Attachments cannot be stored or read right now.') {
    super(message, { cause });
  }
}

/** PostgreSQL has the file and the store does not, so it was removed there. It is our fault, not the caller's. */
export class AttachmentMissing extends Error {
  constructor(readonly attachmentId: string) {
    super(`the attachment store has no ${attachmentId}`);
  }
}
