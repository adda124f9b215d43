import { ValidateBy, ValidateIf } from 'class-validator';

/** May be absent. Unlike `@IsOptional()` it does not let `null` through: absent members are absent. */
export const Optional = () => ValidateIf((_, value) => value !== undefined);

/** Must be given, `null` included. */
export const Present = () =>
  ValidateBy({
    name: 'present',
    validator: { validate: (value) => value !== undefined, defaultMessage: () => '$property is required' },
  });
