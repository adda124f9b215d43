import { Controller, Get, Header, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiServiceUnavailableResponse, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { Public } from '../auth/route.decorators.js';
import { ApiErrors } from '../http/api-errors.decorator.js';
import { answers } from '../http/api-schemas.js';
import { OpsGate } from '../observability/ops-gate.js';
import type { Readiness } from './readiness-probe.js';
import { ServiceReadiness } from './service-readiness.js';

/** Liveness and readiness: whether the process serves, and whether it should get requests. */
@Public()
@ApiTags('operations')
@ApiErrors(400)
@Controller()
export class HealthController {
  constructor(
    private readonly readiness: ServiceReadiness,
    private readonly gate: OpsGate,
  ) {}

  @Get('health')
  @ApiOperation({ operationId: 'readHealth', summary: 'Whether the process serves', security: [] })
  @Header('Cache-Control', 'no-store')
  @ApiOkResponse(answers('Health', 'The process serves'))
  health(): { readonly status: 'ok' } {
    return { status: 'ok' };
  }

  @Get('ready')
  @ApiOperation({ operationId: 'readReadiness', summary: 'Whether the service wants requests', security: [] })
  @Header('Cache-Control', 'no-store')
  @ApiOkResponse(answers('Readiness', 'Send requests'))
  @ApiServiceUnavailableResponse(answers('Readiness', 'Send no requests'))
  async ready(@Res({ passthrough: true }) response: Response): Promise<Partial<Readiness> & { status: string }> {
    const { ready, details } = await this.readiness.check();
    response.status(ready ? 200 : 503);
    const status = ready ? 'ready' : 'not_ready';
    return this.gate.isForOperator(response.req) ? { status, details } : { status };
  }
}
