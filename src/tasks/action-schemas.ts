import type { JsonValue } from '../json/strict-json.js';
import { JsonText } from '../json/json-text.js';
import { treeOf } from '../json/json-tree.js';
import { problemsIn, schemaProblem } from '../json/schema/json-schema.js';
import { RequestValidationError } from '../errors.js';
import type { Question } from './domain/suspension.js';
import { EventInvalid } from './domain/tasks.errors.js';

const NO_MEMBERS = new JsonText('{}');

/** @throws EventInvalid when a schema of the question is for no action of it, or is none that the service takes */
export async function demandSchemas({ actionSchemas, allowedActions }: Question): Promise<void> {
  if (actionSchemas === undefined) return;
  const schemas = actionSchemas instanceof JsonText ? await treeOf(actionSchemas) : actionSchemas;
  for (const [action, schema] of Object.entries(schemas as Readonly<Record<string, JsonValue>>)) {
    if (!allowedActions.includes(action))
      throw new EventInvalid('actionSchemas', `names ${action}, which is not allowed`);
    const problem = schemaProblem(schema);
    if (problem) throw new EventInvalid(`actionSchemas.${action}`, `${problem.path} ${problem.message}`.trim());
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
  const problems = problemsIn(schema, await treeOf(payload), 'payload');
  if (problems.length > 0) throw new RequestValidationError(problems);
}
