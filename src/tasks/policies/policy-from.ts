import { dereference, type Schema, validate } from '@cfworker/json-schema';
import { type JsonSchema, type JsonObject } from '#protocol/json-schema.js';
import { MAX_POLICY_BYTES } from '#protocol/limits.js';
import { TASK_POLICY, type TaskPolicy, WORKER_POLICY } from '#protocol/policies.js';
import { type FieldError, under } from '../../errors.js';
import { fieldErrorsOf, valueAt } from '../../json/schema/field-errors.js';
import { SchemaProblem } from '../../json/schema/schema-reader.js';
import { ValueSchema } from '../../json/schema/value-schema.js';

export type PolicyOrErrors = { readonly policy: TaskPolicy } | { readonly errors: readonly FieldError[] };

function validatorOf(schema: JsonSchema): (value: unknown) => readonly FieldError[] {
  const lookup = dereference(schema as Schema);
  return (value) =>
    fieldErrorsOf(validate(value, schema as Schema, '2020-12', lookup, false).errors, (location) =>
      valueAt(schema, lookup, location),
    );
}

const OF_ALL = validatorOf(TASK_POLICY);
const OF_WORKERS = validatorOf(WORKER_POLICY);

/** Reads a policy. A worker may set fewer members than an operator, or the author of a handler in this service. */
export function policyFrom(sent: unknown, { isOfWorker = false } = {}): PolicyOrErrors {
  const found = (isOfWorker ? OF_WORKERS : OF_ALL)(sent);
  if (found.length > 0) return { errors: found };
  const errors = problemsOf(sent as TaskPolicy);
  return errors.length > 0 ? { errors } : { policy: sent as TaskPolicy };
}

function problemsOf(policy: TaskPolicy): readonly FieldError[] {
  const { backoff, concurrencyKey, maxRunningPerKey } = policy;
  const errors: FieldError[] = [];
  if (Buffer.byteLength(JSON.stringify(policy)) > MAX_POLICY_BYTES)
    return [{ path: '', message: `must not have more than ${MAX_POLICY_BYTES} bytes` }];
  if (backoff && backoff.firstSeconds > backoff.maxSeconds)
    errors.push({ path: 'backoff.firstSeconds', message: 'must not be greater than maxSeconds' });
  if (maxRunningPerKey !== undefined && concurrencyKey === undefined)
    errors.push({ path: 'maxRunningPerKey', message: 'needs concurrencyKey' });
  return [...errors, ...schemaProblems('inputSchema', policy), ...schemaProblems('resultSchema', policy)];
}

function schemaProblems(member: 'inputSchema' | 'resultSchema', policy: TaskPolicy): readonly FieldError[] {
  const sent = policy[member];
  try {
    if (sent) new ValueSchema(sent);
    return [];
  } catch (error) {
    if (!(error instanceof SchemaProblem)) throw error;
    return under(member, [{ path: error.path, message: error.problem }]);
  }
}

export type PoliciesOrErrors =
  | { readonly policies: ReadonlyMap<string, TaskPolicy> }
  | { readonly errors: readonly FieldError[] };

/** Reads the policies of many types, by type. `turn` is awaited before each: a schema takes some milliseconds. */
export async function policiesFrom(
  sent: JsonObject,
  { isOfWorker, turn }: { readonly isOfWorker: boolean; readonly turn: () => Promise<unknown> },
): Promise<PoliciesOrErrors> {
  const read: [string, PolicyOrErrors][] = [];
  for (const [taskType, value] of Object.entries(sent)) {
    await turn();
    read.push([taskType, policyFrom(value, { isOfWorker })]);
  }
  return gathered(read);
}

/** The same in one turn, for the start of the service. */
export function configuredPolicies(sent: JsonObject): PoliciesOrErrors {
  return gathered(Object.entries(sent).map(([taskType, value]) => [taskType, policyFrom(value)]));
}

function gathered(read: readonly (readonly [string, PolicyOrErrors])[]): PoliciesOrErrors {
  const policies = new Map<string, TaskPolicy>();
  const errors: FieldError[] = [];
  for (const [taskType, result] of read) {
    if ('policy' in result) policies.set(taskType, result.policy);
    else errors.push(...under(taskType, result.errors));
  }
  return errors.length > 0 ? { errors } : { policies };
}
