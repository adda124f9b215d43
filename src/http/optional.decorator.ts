import { ValidateIf } from 'class-validator';

/** May be absent. Unlike `@IsOptional()` it does not let `null` through: absent members are absent. */
export const Optional = () => ValidateIf((_, value) => value !== undefined);
