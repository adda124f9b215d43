import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Upload } from '../../uploads/receive-upload.js';
import type { UploadRequest } from './upload.interceptor.js';

/** The files of a multipart body. Undefined for a JSON body. */
export const Uploaded = createParamDecorator(
  (_: unknown, context: ExecutionContext): Upload | undefined =>
    context.switchToHttp().getRequest<UploadRequest>().upload,
);
