import type { ApiResponseOptions, OpenAPIObject } from '@nestjs/swagger';
import { opened } from '#protocol/json-schema.js';
import { type SchemaName, SCHEMAS } from '#protocol/snapshots.js';

type Schemas = NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>;

/** For a decorator of a route: what it answers, by the name of the schema. */
export const answers = (name: SchemaName, description?: string) =>
  ({
    ...(description !== undefined && { description }),
    schema: { $ref: `#/components/schemas/${name}` },
  }) satisfies ApiResponseOptions;

/** Adds the schemas of all answers. */
export function withSchemas(document: OpenAPIObject): OpenAPIObject {
  const schemas = Object.fromEntries(
    Object.entries(SCHEMAS).map(([name, schema]) => [name, opened(schema)]),
  ) as Schemas;
  return {
    ...document,
    components: { ...document.components, schemas: { ...schemas, ...document.components?.schemas } },
  };
}
