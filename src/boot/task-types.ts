import { patternOf, TASK_TYPE } from '#protocol/ids.js';
import type { TaskPolicy } from '#protocol/policies.js';
import { MalformedJson } from '../errors.js';
import { parseStrictJson } from '../json/strict-json.js';
import { configuredPolicies } from '../tasks/policies/policy-from.js';
import type { Kind } from './setting-kinds.js';

type Policies = ReadonlyMap<string, TaskPolicy>;

const A_TASK_TYPE = patternOf(TASK_TYPE);

const ACCEPTED = 'a JSON object of policies by task type';

/** Policies by task type, as JSON. */
export const taskTypes: Kind<Policies> & { readonly none: Policies } = {
  none: new Map(),
  accepts: ACCEPTED,
  parse: (text) => read(text).policies,
  problemOf: (text) => read(text).problem,
};

function read(text: string): { readonly policies?: Policies; readonly problem?: string } {
  try {
    const sent = parseStrictJson(text);
    if (typeof sent !== 'object' || sent === null || Array.isArray(sent)) return { problem: `accepts ${ACCEPTED}` };
    const unknown = Object.keys(sent).find((taskType) => !A_TASK_TYPE.test(taskType));
    if (unknown !== undefined)
      return { problem: `${JSON.stringify(unknown.slice(0, 128))} is no task type: ${TASK_TYPE.title}` };
    const result = configuredPolicies(sent);
    if ('policies' in result) return result;
    return { problem: result.errors.map(({ path, message }) => `${path} ${message}`).join('; ') };
  } catch (error) {
    if (error instanceof MalformedJson)
      return { problem: text.startsWith('{') ? error.message : `accepts ${ACCEPTED}` };
    throw error;
  }
}
