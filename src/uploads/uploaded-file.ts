/** A file as it was received: stored, counted and hashed on the way. */
export interface UploadedFile {
  /** A UUID of the service. It is also the id in the attachment store. */
  readonly attachmentId: string;
  /** Normalised: a base name that is safe to show and to use for a file. */
  readonly filename: string;
  /** Claimed by the client, and in agreement with the bytes; without a claim what bytes and name say. Lower case, no parameters. */
  readonly contentType: string;
  /** What release 0.1.0 takes for the type, where none was claimed. It compares repeated requests by it. */
  readonly earlierType?: string;
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}
