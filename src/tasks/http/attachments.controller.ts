import { Controller, Get, Param, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { AuthenticatedRequest } from '../../auth/authentication.guard.js';
import { AlsoByLease, leaseTokenOf, OpenToFollowTokens, Requires } from '../../auth/route.decorators.js';
import { Produces } from '../../http/accept.guard.js';
import { ApiErrors } from '../../http/api-errors.decorator.js';
import { TakesHeaders, TakesIds } from '../../http/api-schemas.js';
import { sendAttachment } from '../../uploads/send-attachment.js';
import { TaskId } from '../../http/task-id.decorator.js';
import { ReadAttachment } from '../read-attachment.js';

const ANY_BYTES = { schema: { type: 'string', format: 'binary' } };
/** Generators of clients do not know what to make of a wildcard alone. */
const BYTES = { 'application/octet-stream': ANY_BYTES, '*/*': ANY_BYTES };

@ApiTags('tasks')
@Controller('api/v1/tasks')
export class AttachmentsController {
  constructor(private readonly readAttachment: ReadAttachment) {}

  @Get(':taskId/attachments/:attachmentId')
  @Requires('tasks:read')
  @AlsoByLease()
  @OpenToFollowTokens('read')
  @Produces(null)
  @ApiErrors(400, 401, 403, 404, 409, 416, 503)
  @ApiOperation({ operationId: 'readAttachment', summary: 'Download a file of a task, or a range of it' })
  @TakesIds('taskId', 'attachmentId')
  @TakesHeaders('If-None-Match', 'Range', 'If-Range', 'X-Lease-Token')
  @ApiOkResponse({ description: 'The file', content: BYTES })
  @ApiResponse({ status: 304, description: 'As If-None-Match has it' })
  @ApiResponse({ status: 206, description: 'The range that was asked for', content: BYTES })
  async download(
    @TaskId() taskId: string,
    @Param('attachmentId') attachmentId: string,
    @Req() request: AuthenticatedRequest,
    @Res() response: Response,
  ): Promise<void> {
    const { attachment, open } = request.auth
      ? await this.readAttachment.execute(request.auth, taskId, attachmentId)
      : await this.readAttachment.executeForLease(leaseTokenOf(request) ?? '', taskId, attachmentId);
    await sendAttachment(request, response, attachment, open);
  }
}
