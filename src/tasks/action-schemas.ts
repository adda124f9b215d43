import type { JsonObject, JsonValue } from '../json/strict-json.js';
import { JsonText } from '../json/json-text.js';
import { treeOf } from '../json/json-tree.js';
import { SchemaProblem } from '../json/schema/schema-reader.js';
import { ValueSchema } from '../json/schema/value-schema.js';
import { RequestValidationError, under } from '../errors.js';
import type { Question } from './domain/suspension.js';
import { EventInvalid } from './domain/tasks.errors.js';

const MAX_SCHEMA_CHARACTERS = 16 * 1024;
const NO_MEMBERS = new JsonText('{}');

/** @throws EventInvalid when a schema of the question is for no action of it, or is none that the service takes */
export async function demandSchemas({ actionSchemas, allowedActions }: Question): Promise<void> {
  if (actionSchemas === undefined) return;
  const schemas = actionSchemas instanceof JsonText ? await treeOf(actionSchemas) : actionSchemas;
  for (const [action, schema] of Object.entries(schemas as Readonly<Record<string, JsonValue>>)) {
    if (!allowedActions.includes(action))
      throw new EventInvalid('actionSchemas', `names ${action}, which is not allowed`);
    read(schema, `actionSchemas.${action}`);
  }
}

/** @throws RequestValidationError when the question has a schema for the action, and the payload does not fit it */
export async function demandFittingPayload(
  questionJson: string,
  { actionType, payload = NO_MEMBERS }: { readonly actionType: string; readonly payload?: JsonText },
): Promise<void> {
  if (!questionJson.includes('"actionSchemas"')) return;
  const { actionSchemas = {} } = JSON.parse(questionJson) as { actionSchemas?: Readonly<Record<string, JsonValue>> };
  const schema = Object.hasOwn(actionSchemas, actionType) ? actionSchemas[actionType] : undefined;
  if (schema === undefined) return;
  const problems = read(schema, `actionSchemas.${actionType}`).errorsOf(await treeOf(payload));
  if (problems.length > 0) throw new RequestValidationError(under('payload', problems));
}

/** @throws EventInvalid */
function read(schema: JsonValue, path: string): ValueSchema {
  if (JSON.stringify(schema).length > MAX_SCHEMA_CHARACTERS)
    throw new EventInvalid(path, `has more than ${MAX_SCHEMA_CHARACTERS} characters`);
  try {
    return new ValueSchema(schema as JsonObject);
  } catch (error) {
    if (error instanceof SchemaProblem) throw new EventInvalid(path, error.message.trim());
    throw error;
  }
}
