/** A file as it was received: stored, counted and hashed on the way. */
export interface UploadedFile {
  /** A UUID of the service. It is also the id in the attachment store. */
  readonly attachmentId: string;
  /** Normalised: a base name that is safe to show and to use for a file. */
  readonly filename: string;
  /** Claimed by the client, and in agreement with the bytes. Lower case, without parameters. */
  readonly contentType: string;
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}
