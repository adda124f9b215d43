import { Controller, Get, Header, Res, ServiceUnavailableException } from '@nestjs/common';
import { ApiOkResponse, ApiServiceUnavailableResponse, ApiTags } from '@nestjs/swagger';
import { HealthCheckService, type HealthIndicatorFunction, HealthIndicatorService } from '@nestjs/terminus';
import type { Response } from 'express';
import { Public } from '../auth/public.decorator.js';
import { DrainState } from '../http/drain-state.js';
import { OpsGate } from '../observability/ops-gate.js';
import { withinDeadline } from './deadline.js';
import { type Readiness, ReadinessProbe } from './readiness-probe.js';

/** For a host's own probe that hangs; the composite one bounds each of its parts. */
const DEADLINE_MILLISECONDS = 3000;

/** Whether the process serves, and whether it should be sent requests. */
@Public()
@ApiTags('operations')
@Controller()
export class HealthController {
  constructor(
    private readonly probe: ReadinessProbe,
    private readonly drain: DrainState,
    private readonly gate: OpsGate,
    private readonly terminus: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
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
    const readiness = await this.readiness();
    const isUp = await this.judge(readiness);
    response.status(isUp ? 200 : 503);
    const status = isUp ? 'ready' : 'not_ready';
    return this.gate.isForOperator(response.req) ? { status, details: readiness.details } : { status };
  }

  private async readiness(): Promise<Readiness> {
    const { ready, details } = await withinDeadline(DEADLINE_MILLISECONDS, this.probe.checkReadiness()).catch(
      (): Readiness => ({ ready: false, details: {} }),
    );
    if (!this.drain.draining) return { ready, details };
    return { ready: false, details: { ...details, service: { status: 'draining' } } };
  }

  /** Terminus also knows of a shutdown that Nest has begun on its own. */
  private async judge({ ready, details }: Readiness): Promise<boolean> {
    const indicators = Object.entries(details).map(([name, { status }]): HealthIndicatorFunction => {
      const indicator = this.indicators.check(name);
      if (status === 'ready') return () => indicator.up();
      return () => (ready ? indicator.degraded({ code: status }) : indicator.down({ code: status }));
    });
    try {
      await this.terminus.check(indicators);
      return ready;
    } catch (error) {
      if (error instanceof ServiceUnavailableException) return false;
      throw error;
    }
  }
}
