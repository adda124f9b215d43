import { setTimeout as delay } from 'node:timers/promises';
import { connected } from '../support/fold.js';
import type { TestDatabase } from '../support/postgres.js';
import type { TestRedis } from '../support/redis.js';
import type { Replicas } from './replicas.js';

export interface Stage {
  readonly database: TestDatabase;
  readonly redis: TestRedis;
  readonly replicas: Replicas;
  /** Absent for a shared cluster. */
  readonly crashPostgres?: () => Promise<void>;
}

type Fault = (stage: Stage) => Promise<unknown>;

const KILL = 'kill -9 of a replica';

const FAULTS: Readonly<Record<string, Fault>> = {
  [KILL]: async ({ replicas }) => {
    await replicas.kill();
    await replicas.add();
  },
  'Redis restarts without its data': ({ redis }) => redis.restart({ keepData: false }),
  'PostgreSQL ends all connections': ({ database }) =>
    connected(database.superuserUrl, (db) =>
      db.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()`),
    ),
  'PostgreSQL crashes and recovers': ({ crashPostgres }) => crashPostgres?.() ?? Promise.resolve(),
  'Redis does not answer for 3 s': async ({ redis }) => {
    redis.pause();
    await delay(3_000);
    redis.resume();
  },
  'Redis restarts with its data': ({ redis }) => redis.restart({ keepData: true }),
};

/** `kills` kills, and between two of them `others` of the other faults in turn. */
export function planFaults(kills: number, others: number, canCrashPostgres: boolean): string[] {
  const choices = Object.keys(FAULTS).filter(
    (name) => name !== KILL && (canCrashPostgres || !name.includes('crashes')),
  );
  return Array.from({ length: Math.max(kills, others) }, (_, at) => [
    ...(at < kills ? [KILL] : []),
    ...(at < others ? [choices[at % choices.length] as string] : []),
  ]).flat();
}

export function strike(name: string, stage: Stage): Promise<unknown> {
  return (FAULTS[name] as Fault)(stage);
}
