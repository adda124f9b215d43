import { Controller, Get, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { PrometheusController } from '@willsoto/nestjs-prometheus';
import type { Response } from 'express';
import { Registry } from 'prom-client';
import { Public } from '../auth/route.decorators.js';
import { RouteNotFound } from '../errors.js';
import { BeforeScrape } from './before-scrape.js';
import { OpsGate } from './ops-gate.js';

/** Does the same as the base class, behind the gate, and after all measurements. The module sets the path. */
@Public()
@ApiExcludeController()
@Controller()
export class MetricsController extends PrometheusController {
  constructor(
    private readonly registry: Registry,
    private readonly gate: OpsGate,
    private readonly beforeScrape: BeforeScrape,
  ) {
    super();
  }

  @Get()
  override async index(@Res({ passthrough: true }) response: Response): Promise<string> {
    if (!this.gate.isForOperator(response.req)) throw new RouteNotFound();
    response.setHeader('Content-Type', this.registry.contentType);
    await this.beforeScrape.measure();
    return this.registry.metrics();
  }
}
