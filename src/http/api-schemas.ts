import { applyDecorators } from '@nestjs/common';
import { ApiBody, ApiHeader, ApiParam, ApiQuery, type ApiResponseOptions, type OpenAPIObject } from '@nestjs/swagger';
import { SENT_TASK_ID, TASK_UUID } from '#protocol/ids.js';
import { component, type JsonSchema, type Members, opened } from '#protocol/json-schema.js';
import { type HeaderName, HEADERS, QUERIES, type RequestName, REQUESTS } from '#protocol/requests.js';
import { type SchemaName, SCHEMAS } from '#protocol/snapshots.js';

type Schemas = NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>;

// For decorators of routes: what OpenAPI says of them. The schemas are those of the protocol, by name.

/** What the route answers. */
export const answers = (name: SchemaName, description?: string) =>
  ({
    ...(description !== undefined && { description }),
    schema: { $ref: component(name) },
  }) satisfies ApiResponseOptions;

/** The body that the route takes. */
export const Takes = (name: RequestName, { required = true } = {}) =>
  ApiBody({ schema: { $ref: component(name) }, required });

/** The query that the route takes. */
export const TakesQuery = (name: keyof typeof QUERIES) =>
  applyDecorators(
    ...Object.entries(QUERIES[name] as Members).map(([parameter, member]) => {
      const { description, ...schema } = memberSchema(member);
      return ApiQuery({ ...parameterOf(parameter, schema, description), required: !('optional' in member) });
    }),
  );

/** The headers that change the route's answer. */
export const TakesHeaders = (...names: readonly HeaderName[]) =>
  applyDecorators(...names.map((name) => ApiHeader({ ...headerOf(name), required: false })));

/** A header without which the route refuses the request. */
export const NeedsHeader = (name: HeaderName) => ApiHeader({ ...headerOf(name), required: true });

/** The ids in the route's path. */
export const TakesIds = (...names: readonly string[]) =>
  applyDecorators(
    ...names.map((name) => ApiParam({ name, schema: (name === 'taskId' ? SENT_TASK_ID : TASK_UUID) as object })),
  );

/** A header as a parameter of OpenAPI. */
export function headerOf(name: HeaderName) {
  const { description, ...schema } = HEADERS[name] as JsonSchema;
  return parameterOf(name, schema, description);
}

const memberSchema = (member: Members[string]): JsonSchema => ('optional' in member ? member.optional : member);

function parameterOf(name: string, schema: JsonSchema, description: string | undefined) {
  return { name, ...(description !== undefined && { description }), schema: schema as object };
}

/** Adds the schemas of all bodies and answers. */
export function withSchemas(document: OpenAPIObject): OpenAPIObject {
  const schemas = {
    ...REQUESTS,
    ...Object.fromEntries(Object.entries(SCHEMAS).map(([name, schema]) => [name, opened(schema)])),
  } as Schemas;
  return {
    ...document,
    components: { ...document.components, schemas: { ...schemas, ...document.components?.schemas } },
  };
}
