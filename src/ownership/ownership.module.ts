import { Module, type DynamicModule } from '@nestjs/common';
import { unlessHosted, type Hosted } from '../hosted.js';
import { ActionValidationPolicy, EveryActionIsValid } from './action-validation-policy.js';
import { OwnerPolicy } from './owner-policy.js';
import { OwnershipConfig } from './ownership.config.js';
import { OwnershipPolicy } from './ownership-policy.js';
import { TenantPolicy } from './tenant-policy.js';

/** The owner of a task, the rights to it, and what may be done with them. */
@Module({})
export class OwnershipModule {
  static register(hosted: Hosted): DynamicModule {
    const ports = unlessHosted(
      hosted,
      {
        provide: OwnershipPolicy,
        useFactory: (config: OwnershipConfig) => (config.policy === 'tenant' ? new TenantPolicy() : new OwnerPolicy()),
        inject: [OwnershipConfig],
      },
      { provide: ActionValidationPolicy, useClass: EveryActionIsValid },
    );
    return { module: OwnershipModule, global: true, providers: ports, exports: ports };
  }
}
