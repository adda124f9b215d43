import type { JsonObject } from '../../protocol/src/json-schema.js';

/** Input and result by task type. */
export type Tasks = Readonly<Record<string, { readonly input: unknown; readonly result: unknown }>>;

/** Any type, with any object. */
export type AnyTasks = Readonly<Record<string, { readonly input: JsonObject; readonly result: unknown }>>;

/** The tasks of a worker's or a host's handlers: `createClient<TasksOf<typeof handlers>>()`. */
export type TasksOf<H> = {
  readonly [K in keyof H & string]: H[K] extends (...given: infer G) => infer R
    ? {
        readonly input: G extends readonly [infer I, ...unknown[]] ? I : JsonObject;
        readonly result: AsResult<Awaited<R>>;
      }
    : never;
};

/** A handler that returns nothing has the result `null`. */
type AsResult<R> = [R] extends [void] ? null : AsJson<R>;

/** What is left of a value on its way as JSON. */
export type AsJson<V> = 0 extends 1 & V
  ? V
  : V extends { toJSON(): infer J }
    ? AsJson<J>
    : V extends bigint
      ? number
      : V extends readonly (infer E)[]
        ? AsJson<E>[]
        : V extends object
          ? { [K in keyof V as V[K] extends symbol | ((...given: never) => unknown) ? never : K]: AsJson<V[K]> }
          : V;
