import type { IncomingMessage } from 'node:http';
import {
  type CallHandler,
  createParamDecorator,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import type { Response } from 'express';
import { lastValueFrom, type Observable, of } from 'rxjs';
import { clientRequestIdFrom } from '#protocol/ids.js';
import type { AuthContext } from '../../auth/auth-context.js';
import type { AuthenticatedRequest } from '../../auth/authentication.guard.js';
import { askForBody, isMultipart } from '../../http/json-edge.js';
import type { AttachmentStore } from '../../uploads/attachment-store.js';
import { DiscardUploads } from '../../uploads/discard-uploads.js';
import type { FormLayout } from '../../uploads/form-fields.js';
import { NoAttachmentStore } from '../../uploads/no-attachment-store.js';
import { ReceiveUpload, type Upload } from '../../uploads/receive-upload.js';
import { CheckRoom } from '../check-room.js';
import { idempotencyKeyOf } from './idempotency-key.js';

/** CreateTaskDto as a form. */
const FORM: FormLayout = {
  text: ['clientRequestId', 'taskType', 'startAfter', 'deadline'],
  numbers: ['delaySeconds', 'priority', 'maxAttempts'],
  json: ['input', 'metadata'],
  files: ['attachment', 'attachments'],
};
const CREATE = /^\/api\/v1\/tasks\/?(\?|$)/i;

type UploadRequest = AuthenticatedRequest & { upload?: Upload };

/** The files of a multipart body. Undefined for a JSON body. */
export const Uploaded = createParamDecorator(
  (_: unknown, context: ExecutionContext): Upload | undefined =>
    context.switchToHttp().getRequest<UploadRequest>().upload,
);

/** For the edge: the requests whose form this interceptor reads. None without an attachment store. */
export function takesUploads(store: AttachmentStore): (req: IncomingMessage) => boolean {
  const kept = !(store instanceof NoAttachmentStore);
  return (req) => kept && isMultipart(req) && req.method === 'POST' && CREATE.test(req.url ?? '');
}

/**
 * Turns a multipart create into a JSON one with files: the body that pipes and handler see are its fields. It runs behind the
 * guards, so nothing is read for a stranger. Files without a task are removed before the answer leaves.
 */
@Injectable()
export class UploadInterceptor implements NestInterceptor {
  constructor(
    private readonly receiveUpload: ReceiveUpload,
    private readonly discard: DiscardUploads,
    private readonly checkRoom: CheckRoom,
  ) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const request = context.switchToHttp().getRequest<UploadRequest>();
    const response = context.switchToHttp().getResponse<Response>();
    if (!isMultipart(request)) return next.handle();
    if (!request.auth) throw new Error('a route that takes uploads is marked public');
    const { auth } = request;
    const upload = await this.receiveUpload.execute(auth, request, FORM, {
      beforeBody: async () => {
        const key = idempotencyKeyOf(request);
        if (key) await this.demandRoom(auth, [key.clientRequestId, key.quoted]);
        askForBody(request, response);
      },
      beforeFile: ({ clientRequestId }) => this.demandRoom(auth, [clientRequestId]),
    });
    request.body = upload.fields;
    request.upload = upload;
    try {
      return of(await lastValueFrom(next.handle(), { defaultValue: undefined }));
    } finally {
      await this.discard.execute(upload.files.map(({ attachmentId }) => attachmentId));
    }
  }

  /** As soon as the request has named its key: a repeated request is never refused for lack of room. */
  private async demandRoom(auth: AuthContext, names: readonly unknown[]): Promise<void> {
    const ids = names.map((name) => (typeof name === 'string' ? clientRequestIdFrom(name) : undefined));
    const named = ids.filter((id) => id !== undefined);
    if (named.length > 0) await this.checkRoom.execute(auth, named);
  }
}
