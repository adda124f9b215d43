import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Upload } from '../uploads/receive-upload.js';
import type { UploadRequest } from './upload.interceptor.js';

/** What came with a multipart body; undefined when the body was JSON. */
export const Uploaded = createParamDecorator(
  (_: unknown, context: ExecutionContext): Upload | undefined =>
    context.switchToHttp().getRequest<UploadRequest>().upload,
);
