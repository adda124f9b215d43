import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { Readable } from 'node:stream';
import { AttachmentStore, type ByteRange } from './attachment-store.js';
import type { S3Config } from './uploads.config.js';
import { AttachmentMissing, AttachmentStoreUnavailable } from './uploads.errors.js';

/** In the bucket, so that it can be shared and a lifecycle rule can name what is ours. */
const PREFIX = 'attachments/';
/** The smallest size that S3 accepts for all parts but the last. An upload has one part in memory. */
const PART_BYTES = 5 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 3_000;
/** The longest time without a byte in either direction. */
const SILENCE_TIMEOUT_MS = 20_000;

/**
 * An object per attachment. Credentials, and the region when it is not set, are found as by AWS tools. A crash during a large
 * file leaves its parts. No listing shows them, and they cost money. So the bucket should have a lifecycle rule that aborts
 * incomplete multipart uploads after a day.
 */
export class S3AttachmentStore extends AttachmentStore {
  readonly #client: S3Client;
  readonly #bucket: string;

  constructor({ bucket, endpoint, region, forcePathStyle }: S3Config) {
    super();
    this.#bucket = bucket;
    this.#client = new S3Client({
      ...(endpoint !== undefined && { endpoint }),
      ...(region !== undefined && { region }),
      forcePathStyle,
      // Checksums in trailers, the default since 2025, are not understood by many servers that are compatible otherwise.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS, socketTimeout: SILENCE_TIMEOUT_MS },
    });
  }

  override async put(attachmentId: string, bytes: Readable): Promise<void> {
    const upload = new Upload({
      client: this.#client,
      params: { Bucket: this.#bucket, Key: keyOf(attachmentId), Body: bytes, ContentType: 'application/octet-stream' },
      partSize: PART_BYTES,
      queueSize: 1,
    });
    try {
      await upload.done();
    } catch (error) {
      const cause = bytes.errored ?? new AttachmentStoreUnavailable(error);
      bytes.destroy();
      throw cause;
    }
  }

  override async open(attachmentId: string, range?: ByteRange): Promise<Readable> {
    try {
      const { Body: body } = await this.#client.send(
        new GetObjectCommand({
          Bucket: this.#bucket,
          Key: keyOf(attachmentId),
          ...(range && { Range: `bytes=${range.first}-${range.last}` }),
        }),
      );
      if (!(body instanceof Readable)) throw new TypeError('the S3 client gave no stream of Node');
      return body;
    } catch (error) {
      if (error instanceof S3ServiceException && error.name === 'NoSuchKey') throw new AttachmentMissing(attachmentId);
      throw new AttachmentStoreUnavailable(error);
    }
  }

  override async remove(attachmentId: string): Promise<void> {
    try {
      await this.#client.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key: keyOf(attachmentId) }));
    } catch (error) {
      throw new AttachmentStoreUnavailable(error);
    }
  }

  /** Needs `s3:ListBucket`, as every store of AWS does to tell a key that is not there from one that is forbidden. */
  override async checkHealth(): Promise<void> {
    try {
      await this.#client.send(new HeadBucketCommand({ Bucket: this.#bucket }));
    } catch (error) {
      throw new AttachmentStoreUnavailable(error);
    }
  }
}

function keyOf(attachmentId: string): string {
  return `${PREFIX}${attachmentId}`;
}
