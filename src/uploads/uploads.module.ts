import { type DynamicModule, Module } from '@nestjs/common';
import { type Hosted, unlessHosted } from '../hosted.js';
import { Log } from '../observability/log.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { AttachmentStore } from './attachment-store.js';
import { DiscardUploads } from './discard-uploads.js';
import { FilesystemAttachmentStore } from './filesystem-attachment-store.js';
import { LimitsPolicy } from './limits-policy.js';
import { NoAttachmentStore } from './no-attachment-store.js';
import { ObservedAttachmentStore } from './observed-attachment-store.js';
import { ReceiveUpload } from './receive-upload.js';
import { StoreFile } from './store-file.js';
import { UploadPolicy } from './upload-policy.js';
import { UploadSweeper } from './upload-sweeper.js';
import { UploadsConfig } from './uploads.config.js';

/** The files of tasks. */
@Module({})
export class UploadsModule {
  static register(hosted: Hosted): DynamicModule {
    const ports = unlessHosted(
      hosted,
      { provide: UploadPolicy, useClass: LimitsPolicy },
      { provide: AttachmentStore, useFactory: attachmentStore, inject: [UploadsConfig, Log, MetricsSink] },
    );
    return {
      module: UploadsModule,
      global: true,
      providers: [StoreFile, ReceiveUpload, DiscardUploads, UploadSweeper, ...ports],
      exports: [StoreFile, ReceiveUpload, DiscardUploads, UploadSweeper, ...ports],
    };
  }
}

async function attachmentStore(config: UploadsConfig, log: Log, metrics: MetricsSink): Promise<AttachmentStore> {
  const store = await storeOf(config);
  return store instanceof NoAttachmentStore ? store : new ObservedAttachmentStore(store, log, metrics);
}

async function storeOf({ store, directory, s3 }: UploadsConfig): Promise<AttachmentStore> {
  if (store === 'filesystem') return new FilesystemAttachmentStore(directory);
  if (store === 'none' || s3 === undefined) return new NoAttachmentStore();
  // Loaded only where it is used, because it takes 100 ms and 20 MB.
  const { S3AttachmentStore } = await import('./s3-attachment-store.js');
  return new S3AttachmentStore(s3);
}
