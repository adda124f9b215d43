import { SetMetadata } from '@nestjs/common';
import type { Scope } from './auth-context.js';

export const REQUIRED_SCOPE = 'taskbridge:scope';

/** The scope that a route demands. */
export const Requires = (scope: Scope) => SetMetadata(REQUIRED_SCOPE, scope);
