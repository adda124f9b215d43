export interface S3Config {
  /** From S3_BUCKET. */
  readonly bucket: string;
  /** From S3_ENDPOINT. Defaults to AWS. */
  readonly endpoint?: string;
  /** From S3_REGION. Defaults to what the AWS variables and files say. */
  readonly region?: string;
  /** Whether the bucket is in the path and not in the host name. From S3_FORCE_PATH_STYLE. Defaults to false. */
  readonly forcePathStyle: boolean;
}

/** The limits of attachments, and their store. */
export abstract class UploadsConfig {
  /** From ATTACHMENT_STORE. Defaults to `filesystem`, in production-like environments to `none`. */
  abstract readonly store: 'filesystem' | 's3' | 'none';
  /** Of the filesystem store: `attachments` in DATA_DIR. */
  abstract readonly directory: string;
  /** Present when the store is `s3`. */
  abstract readonly s3?: S3Config;
  /** Bytes of one file. From UPLOAD_MAX_FILE_BYTES. Defaults to 10485760. */
  abstract readonly maxFileBytes: number;
  /** Files of one task. From UPLOAD_MAX_FILES. Defaults to 10. */
  abstract readonly maxFiles: number;
  /** Bytes of one task's files together. From UPLOAD_MAX_TOTAL_BYTES. Defaults to 52428800. */
  abstract readonly maxTotalBytes: number;
  /** Media types, such as `image/png` or `image/*`; an empty list allows any. From UPLOAD_ALLOWED_TYPES. Defaults to none. */
  abstract readonly allowedTypes: readonly string[];
  /** Bytes of all files of one owner. From UPLOAD_QUOTA_BYTES. Defaults to 1073741824. */
  abstract readonly quotaBytes: number;
}
