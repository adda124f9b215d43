import { createClient } from '@taskbridge/client';
import { createHooks } from '@taskbridge/react';

/** What the handler of `host.mjs` takes and returns. */
export type ImportTasks = {
  readonly 'names.import': { readonly input: Record<string, never>; readonly result: { readonly imported: number } };
};

export const client = createClient<ImportTasks>();
export const { Provider, useAnswer, useConnection, useStart, useTask } = createHooks<ImportTasks>();
