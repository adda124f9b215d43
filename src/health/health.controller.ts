import { Controller, Get, Header, Res } from '@nestjs/common';
import { ApiOkResponse, ApiServiceUnavailableResponse, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { Public } from '../auth/public.decorator.js';
import { ApiErrors } from '../http/api-errors.decorator.js';
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
  @Header('Cache-Control', 'no-store')
  @ApiOkResponse({ description: 'The process serves', example: { status: 'ok' } })
  health(): { readonly status: 'ok' } {
    return { status: 'ok' };
  }

  @Get('ready')
  @Header('Cache-Control', 'no-store')
  @ApiOkResponse({
    description: 'Send requests',
    example: { status: 'ready', details: { postgres: { status: 'ready' } } },
  })
  @ApiServiceUnavailableResponse({
    description: 'Send no requests',
    example: { status: 'not_ready', details: { postgres: { status: 'not_ready' } } },
  })
  async ready(@Res({ passthrough: true }) response: Response): Promise<Partial<Readiness> & { status: string }> {
    const { ready, details } = await this.readiness.check();
    response.status(ready ? 200 : 503);
    const status = ready ? 'ready' : 'not_ready';
    return this.gate.isForOperator(response.req) ? { status, details } : { status };
  }
}
