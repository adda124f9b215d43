import { Controller, Get, Header } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { AuthConfig } from '../../auth/auth.config.js';
import { AuthContextResolver } from '../../auth/auth-context-resolver.js';
import { Public } from '../../auth/route.decorators.js';
import { waysToCall } from '../../auth/security-schemes.js';
import { asyncApi } from './document.js';

@Public()
@ApiExcludeController()
@Controller()
export class AsyncApiController {
  readonly #text: string;

  constructor(resolver: AuthContextResolver, config: AuthConfig) {
    this.#text = JSON.stringify(asyncApi(waysToCall(resolver, config)));
  }

  @Get('asyncapi.json')
  @Header('Content-Type', 'application/json; charset=utf-8')
  document(): string {
    return this.#text;
  }
}
