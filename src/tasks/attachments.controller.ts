import { Controller, Get, Param, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import type { AuthContext } from '../auth/auth-context.js';
import { Caller } from '../auth/caller.decorator.js';
import { Requires } from '../auth/requires.decorator.js';
import { Produces } from '../http/accept.guard.js';
import { ApiErrors } from '../http/api-errors.decorator.js';
import { sendAttachment } from '../uploads/send-attachment.js';
import { ReadAttachment } from './read-attachment.js';

@ApiTags('tasks')
@Controller('api/v1/tasks')
export class AttachmentsController {
  constructor(private readonly readAttachment: ReadAttachment) {}

  @Get(':taskId/attachments/:attachmentId')
  @Requires('tasks:read')
  @Produces(null)
  @ApiErrors(400, 401, 403, 404, 416, 503)
  @ApiOperation({ summary: 'Download a file of a task, or a range of it' })
  @ApiOkResponse({ content: { '*/*': { schema: { type: 'string', format: 'binary' } } } })
  async download(
    @Caller() caller: AuthContext,
    @Param('taskId') taskId: string,
    @Param('attachmentId') attachmentId: string,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    const { attachment, open } = await this.readAttachment.execute(caller, taskId, attachmentId);
    await sendAttachment(request, response, attachment, open);
  }
}
