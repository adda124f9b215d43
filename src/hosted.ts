import type { InjectionToken, Provider, Type } from '@nestjs/common';

/** The tokens that a host module provides; everywhere else the default stands. */
export type Hosted = ReadonlySet<InjectionToken>;

/** The default providers of ports, less those that the host module provides. */
export function unlessHosted(hosted: Hosted, ...defaults: readonly Exclude<Provider, Type>[]): Provider[] {
  return defaults.filter((provider) => !hosted.has(provider.provide));
}
