import { createHash } from 'node:crypto';
import type { TaskPolicy } from '#protocol/policies.js';
import type { Plan, Timing } from './domain/plan.js';
import { JsonText } from '../json/json-text.js';
import { exactTreeOf } from '../json/json-tree.js';

interface Content {
  readonly input?: JsonText;
  readonly metadata?: JsonText;
}

/** A member of the content that a row has as text. */
export function textOf(name: keyof Content, json: string | null): Content {
  return json === null ? {} : { [name]: new JsonText(json) };
}

/** A longer key is its hash. */
const MAX_KEY_CHARACTERS = 128;

/** Undefined for a task that is like any other: it is due at once. */
export async function planOf(timing: Timing, policy: TaskPolicy, content: Content): Promise<Plan | undefined> {
  const { concurrencyKey, rateLimit, scheduleToStartSeconds, scheduleToFinishSeconds } = policy;
  const plan = {
    ...timing,
    ...(scheduleToStartSeconds !== undefined && { startSeconds: scheduleToStartSeconds }),
    ...(scheduleToFinishSeconds !== undefined && { finishSeconds: scheduleToFinishSeconds }),
    ...(await keyed('concurrencyKey', concurrencyKey, content)),
    ...(await keyed('rateKey', rateLimit?.key, content)),
  };
  return Object.keys(plan).length > 0 ? plan : undefined;
}

async function keyed<N extends 'concurrencyKey' | 'rateKey'>(
  name: N,
  pointer: string | undefined,
  content: Content,
): Promise<{ readonly [K in N]?: string }> {
  const value = pointer === undefined ? undefined : await scalarAt(pointer, content);
  return value === undefined ? {} : ({ [name]: value } as { readonly [K in N]?: string });
}

/** The value as JSON, or the hash of a long one. Undefined for null, for an object or a list, and where there is none. */
async function scalarAt(pointer: string, content: Content): Promise<string | undefined> {
  const [root, ...steps] = pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  const text = content[root as keyof Content];
  let value = text && (await exactTreeOf(text));
  for (const step of steps) {
    const isThere = typeof value === 'object' && value !== null && Object.hasOwn(value, step);
    value = isThere ? (value as Record<string, unknown>)[step] : undefined;
  }
  if (value === undefined || typeof value === 'object') return undefined;
  const json = typeof value === 'bigint' ? String(value) : JSON.stringify(value);
  return json.length <= MAX_KEY_CHARACTERS ? json : createHash('sha256').update(json).digest('hex');
}
