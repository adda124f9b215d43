import { Controller, Get, Header } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { Public } from '../../auth/public.decorator.js';
import { ASYNCAPI } from './document.js';

const TEXT = JSON.stringify(ASYNCAPI);

@Public()
@ApiExcludeController()
@Controller()
export class AsyncApiController {
  @Get('asyncapi.json')
  @Header('Content-Type', 'application/json; charset=utf-8')
  document(): string {
    return TEXT;
  }
}
