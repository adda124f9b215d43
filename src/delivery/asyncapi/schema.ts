/** A JSON Schema, draft 7: what AsyncAPI takes by default. */
export type Schema = Readonly<Record<string, unknown>>;

/** An object with these members and, unless `more` says so, no others. A name that ends in `?` may be absent. */
export function object(members: Readonly<Record<string, Schema>>, more: Schema = {}): Schema {
  const names = Object.keys(members);
  return {
    type: 'object',
    properties: Object.fromEntries(Object.entries(members).map(([name, schema]) => [name.replace('?', ''), schema])),
    required: names.filter((name) => !name.endsWith('?')),
    additionalProperties: false,
    ...more,
  };
}

export function text(description?: string): Schema {
  return { type: 'string', ...(description !== undefined && { description }) };
}

export function constant(value: string | boolean): Schema {
  return { type: typeof value, const: value };
}

export const ANY_OBJECT: Schema = { type: 'object' };
export const FROM_ONE: Schema = { type: 'integer', minimum: 1 };
export const TIMESTAMP: Schema = { type: 'string', format: 'date-time' };

export const TASK_ID: Schema = { type: 'string', pattern: '^[a-zA-Z0-9][a-zA-Z0-9._@-]{0,254}$' };
export const EVENT_ID: Schema = {
  type: 'string',
  pattern: '^[1-9][0-9]*$',
  description: "The place in the task's log, decimal, dense from 1.",
};
export const HEAD: Schema = {
  type: 'string',
  pattern: '^(0|[1-9][0-9]*)$',
  description: 'The id of the last event that is stored; 0 where there is none.',
};
