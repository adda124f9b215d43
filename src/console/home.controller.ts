import { Controller, Get, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { Public } from '../auth/route.decorators.js';
import { RouteNotFound } from '../errors.js';

/** Leads a person who has typed the address of the service to the console. Programs find nothing here. */
@ApiExcludeController()
@Controller()
export class HomeController {
  @Get()
  @Public()
  lead(@Req() { headers }: Request, @Res({ passthrough: true }) response: Response): void {
    if (headers.accept?.includes('text/html') !== true) throw new RouteNotFound();
    response.redirect('/console/');
  }
}
