import { Controller, Get, Header } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Answer } from '#protocol/snapshots.js';
import { OpenToFollowTokens, Requires } from '../auth/route.decorators.js';
import { ApiErrors } from '../http/api-errors.decorator.js';
import { answers } from '../http/api-schemas.js';
import { LiveReplicas } from './live-replicas.js';

@ApiTags('service')
@Controller('api/v1')
export class ServiceController {
  constructor(private readonly replicas: LiveReplicas) {}

  @Get()
  @Requires('tasks:read')
  @OpenToFollowTokens('read')
  @Header('Cache-Control', 'no-store')
  @ApiOperation({ operationId: 'readService', summary: 'The version, and what all replicas know' })
  @ApiOkResponse(answers('Service'))
  @ApiErrors(400, 401, 403, 406, 503)
  read(): Answer<'Service'> {
    return this.replicas.service;
  }
}
