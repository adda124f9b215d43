import { ApiProperty, type ApiPropertyOptions } from '@nestjs/swagger';

const object = { type: 'object', additionalProperties: true };
const KINDS = [
  object,
  { type: 'array', items: {} },
  ...['string', 'number', 'boolean', 'null'].map((type) => ({ type })),
];

/** A member that may be any JSON value, in OpenAPI: a schema without a type would become one of an object. */
export const AnyJson = (options: { readonly required?: boolean; readonly description?: string } = {}) =>
  ApiProperty({ ...options, oneOf: KINDS } as ApiPropertyOptions);
