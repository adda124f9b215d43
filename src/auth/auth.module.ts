import { Module, type DynamicModule } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { unlessHosted, type Hosted } from '../hosted.js';
import { AuthContextResolver } from './auth-context-resolver.js';
import { AuthenticationGuard } from './authentication.guard.js';
import { Callers } from './callers.js';
import { FollowTokens } from './follow-tokens.js';
import { ProxyHeaderResolver } from './proxy-header-resolver.js';
import { ProxyProof } from './proxy-proof.js';

/** Resolves callers and checks their scopes. */
@Module({})
export class AuthModule {
  static register(hosted: Hosted): DynamicModule {
    const ports = unlessHosted(hosted, { provide: AuthContextResolver, useClass: ProxyHeaderResolver });
    return {
      module: AuthModule,
      global: true,
      providers: [...ports, Callers, FollowTokens, ProxyProof, { provide: APP_GUARD, useClass: AuthenticationGuard }],
      exports: [...ports, Callers, FollowTokens, ProxyProof],
    };
  }
}
