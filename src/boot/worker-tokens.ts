import { patternOf, PRINCIPAL_ID, TASK_TYPE } from '#protocol/ids.js';
import type { WorkerGrant } from '../execution/worker-grant.js';
import { MalformedJson } from '../errors.js';
import { parseStrictJson, type JsonValue } from '../json/strict-json.js';
import { commaList, type Kind, secret } from './setting-kinds.js';

const TOKEN = secret(32);
const LIST = commaList(TOKEN);
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const A_TASK_TYPE = patternOf(TASK_TYPE);
const A_TENANT = patternOf(PRINCIPAL_ID);

type Grants = readonly WorkerGrant[];

/** Bare tokens: each grants all task types of all tenants. */
export const workerTokens: Kind<Grants> & { readonly none: Grants } = {
  none: [],
  isHidden: true,
  accepts: LIST.accepts,
  parse: (text) => LIST.parse(text)?.map((token) => ({ token })),
};

/** The same list, or a JSON list of named tokens. What begins as JSON is read as JSON, so that a mistake in it makes no tokens. */
export const workerTokenFile: Kind<Grants> = {
  isHidden: true,
  accepts: `${LIST.accepts}, or a JSON list of {"name", "token", "types"?, "tenants"?}`,
  parse: (text) => (isJson(text) ? grantsOf(text).grants : workerTokens.parse(text)),
  problemOf: (text) => (isJson(text) ? grantsOf(text).problem : undefined),
};

const isJson = (text: string) => /^[[{]/.test(text);

/** A problem never has a part of the file. */
function grantsOf(text: string): { readonly grants?: Grants; readonly problem?: string } {
  try {
    const list = parseStrictJson(text);
    if (!Array.isArray(list) || list.length === 0)
      throw new GrantProblem('must be a JSON list with at least one token');
    const grants = list.map((item, at) => grantOf(item, `item ${at + 1}`));
    for (const member of ['name', 'token'] as const) {
      const all = grants.map((grant) => grant[member]);
      const twice = all.findIndex((one, at) => all.indexOf(one) !== at);
      if (twice >= 0) throw new GrantProblem(`item ${twice + 1}: repeats the ${member} of another item`);
    }
    return { grants };
  } catch (error) {
    if (error instanceof MalformedJson) return { problem: `begins like JSON and is none: ${error.message}` };
    if (error instanceof GrantProblem) return { problem: error.message };
    throw error;
  }
}

class GrantProblem extends Error {}

function grantOf(item: JsonValue, where: string): WorkerGrant {
  const demand = (holds: boolean, rule: string) => {
    if (!holds) throw new GrantProblem(`${where}: ${rule}`);
  };
  demand(typeof item === 'object' && item !== null && !Array.isArray(item), 'must be an object');
  const { name, token, types, tenants, ...others } = item as Record<string, JsonValue | undefined>;
  demand(Object.keys(others).length === 0, 'has a member besides name, token, types and tenants');
  demand(
    typeof name === 'string' && NAME.test(name),
    'name must be 1 to 64 of A-Z a-z 0-9 . _ -, the first one a letter or digit',
  );
  demand(
    typeof token === 'string' && TOKEN.parse(token) !== undefined,
    `token must be ${TOKEN.accepts.replace(/^of /, '')}`,
  );
  const listOf = (value: JsonValue | undefined, fits: (text: string) => boolean) =>
    Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'string' && fits(one));
  demand(
    types === undefined || listOf(types, (type) => A_TASK_TYPE.test(type)),
    'types must be a list of at least one task type',
  );
  demand(
    tenants === undefined || listOf(tenants, (tenant) => tenant === '' || A_TENANT.test(tenant)),
    'tenants must be a list of at least one tenant, "" for tasks without one',
  );
  return {
    name: name as string,
    token: token as string,
    ...(types !== undefined && { types: types as string[] }),
    ...(tenants !== undefined && { tenants: tenants as string[] }),
  };
}
