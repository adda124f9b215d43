// The types of the client, held by the compiler: `npm run check:types`.
import { createClient, type AsJson, type Task, type TaskState, type TasksOf } from '../src/client-api.js';

/** Whether two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <T extends true>(): T => true as T;

export const handlers = {
  summarise: async ({ text }: { text: string }, _context: { progress(percent: number): Promise<void> }) => ({
    words: text.split(' ').length,
    at: new Date(),
  }),
  count: (input: { upTo: bigint }) => [input.upTo],
  nothing: async () => {},
  anything: (input: Readonly<Record<string, unknown>>): unknown => input,
};
const client = createClient<TasksOf<typeof handlers>>();

const summary = client.create('summarise', { text: 'a text' });
export const followed: Task<{ words: number; at: string }> = summary;
holds<Same<Awaited<ReturnType<typeof summary.result>>, { words: number; at: string }>>();
export const nothing = client.create('nothing', {});
holds<Same<Awaited<ReturnType<typeof nothing.result>>, null>>();
export const counted = client.create('count', { upTo: 3n });
holds<Same<Awaited<ReturnType<typeof counted.result>>, number[]>>();
export const anything = client.create('anything', { a: 1 });
holds<Same<Awaited<ReturnType<typeof anything.result>>, unknown>>();

// @ts-expect-error: there is no such type
client.create('summarize', { text: 'a text' });
// @ts-expect-error: the input lacks a member
client.create('summarise', {});
// @ts-expect-error: a member of another type
client.create('summarise', { text: 7 });

export function show(state: TaskState<{ words: number }>): string {
  switch (state.status) {
    case 'creating':
    case 'waiting':
    case 'running':
      // @ts-expect-error: only a task that is over has a result
      return `${state.progress ?? 0} ${state.result}`;
    case 'asking':
      return state.question.allowedActions.join();
    case 'retrying':
      return state.reason ?? state.notBefore ?? '';
    case 'completed':
      return String(state.result.words);
    case 'failed':
      return state.failure.code;
    case 'cancelled':
      return state.reason;
    case 'unreachable':
      return state.error.code;
    default:
      return holds<Same<typeof state, never>>() && '';
  }
}

holds<Same<AsJson<{ a: Date; b?: string; c: () => void; d: bigint[] }>, { a: string; b?: string; d: number[] }>>();

// Without types any task may be created.
createClient().create('anything.at-all', { a: [1] });
