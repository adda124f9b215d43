import { Injectable } from '@nestjs/common';
import { type AuthContext, ownerOf } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { UnsupportedMediaType } from '../errors.js';
import { ownedBytes } from './owned-bytes.js';
import { type UploadAllowance, UploadPolicy } from './upload-policy.js';
import type { UploadedFile } from './uploaded-file.js';
import { UploadsConfig } from './uploads.config.js';
import { UploadForbidden } from './uploads.errors.js';

/** Principals with the scope `tasks:upload` may attach files, within the limits of the settings. */
@Injectable()
export class LimitsPolicy extends UploadPolicy {
  constructor(
    private readonly config: UploadsConfig,
    private readonly database: Database,
  ) {
    super();
  }

  override async admit(auth: AuthContext): Promise<UploadAllowance> {
    if (!auth.scopes.has('tasks:upload')) throw new UploadForbidden('Attaching files needs the scope tasks:upload.');
    const { maxFiles, maxFileBytes, maxTotalBytes, quotaBytes } = this.config;
    const owned = await ownedBytes(this.database, ownerOf(auth));
    if (owned >= quotaBytes) throw new UploadForbidden('The quota of attached bytes is used up.');
    return { maxFiles, maxFileBytes, maxTotalBytes, maxOwnedBytes: quotaBytes };
  }

  override check(_auth: AuthContext, files: readonly UploadedFile[]): void {
    for (const { contentType } of files) {
      if (!this.allows(contentType)) throw new UnsupportedMediaType('Files of this type may not be attached');
    }
  }

  private allows(contentType: string): boolean {
    const { allowedTypes } = this.config;
    const any = `${contentType.split('/', 1)[0]}/*`;
    return allowedTypes.length === 0 || allowedTypes.includes(contentType) || allowedTypes.includes(any);
  }
}
