import type { TaskSummary } from '@taskbridge/client';
import { queryOptions } from '@tanstack/react-query';
import type { TypeOf } from '../../../protocol/src/json-schema.js';
import type {
  SYSTEM_LOG,
  SYSTEM_NUMBERS,
  SYSTEM_READINESS,
  SYSTEM_REPLICAS,
  SYSTEM_RETENTION,
  SYSTEM_SETTINGS,
  SYSTEM_STREAMS,
  SYSTEM_WORKERS,
} from '../../../protocol/src/operators.js';
import { ask } from './ask.js';

/** What an operator reads of the service, asked again every few seconds. */
const read = <T>(path: string, everyMs: number) =>
  queryOptions({
    queryKey: [path],
    queryFn: ({ signal }) => ask<T>(path, { signal }),
    refetchInterval: everyMs,
  });

interface Stuck {
  readonly items: readonly {
    readonly kind: string;
    readonly why: string;
    readonly since: string;
    readonly task: TaskSummary;
  }[];
  /** Kinds that have more. */
  readonly hasMore: readonly string[];
}

export const stuckTasks = read<Stuck>('/tasks/stuck?all=true', 5_000);
export const replicas = read<TypeOf<typeof SYSTEM_REPLICAS>>('/system/replicas', 5_000);
export const readiness = read<TypeOf<typeof SYSTEM_READINESS>>('/system/readiness', 5_000);
export const numbers = read<TypeOf<typeof SYSTEM_NUMBERS>>('/system/numbers', 5_000);
export const retention = read<TypeOf<typeof SYSTEM_RETENTION>>('/system/retention', 30_000);
export const workers = read<TypeOf<typeof SYSTEM_WORKERS>>('/system/workers?limit=200', 5_000);
export const streams = read<TypeOf<typeof SYSTEM_STREAMS>>('/system/streams', 3_000);
export const settings = read<TypeOf<typeof SYSTEM_SETTINGS>>('/system/settings', 60_000);

export type SystemLog = TypeOf<typeof SYSTEM_LOG>;
export type Stream = TypeOf<typeof SYSTEM_STREAMS>['items'][number];
export type Point = TypeOf<typeof SYSTEM_NUMBERS>['points'][number];
