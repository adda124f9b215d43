import { connected } from '../test/support/fold.js';
import type { TestDatabase } from '../test/support/postgres.js';
import type { Side } from './goal.js';
import type { Stage } from './stage.js';

/** A server that stores a row for each create. */
export interface Creator {
  readonly url: string;
  readonly database: TestDatabase;
  cpuSeconds(): Promise<number>;
}

/** Creates a second. All of them have to be in `table` afterwards. */
export async function creating(
  stage: Stage,
  server: Creator,
  table: 'taskbridge.proj_tasks' | 'graphile_worker._private_jobs' = 'taskbridge.proj_tasks',
): Promise<Side> {
  const client = stage.child('http-process.ts');
  let acknowledged = 0;
  const side = async () => {
    const cpuBefore = [await server.cpuSeconds(), await stage.postgresCpuSeconds(server.database)] as const;
    const load = { url: server.url, connections: stage.sizes.writers, seconds: stage.sizes.seconds };
    const { count, seconds } = await client.call<{ count: number; seconds: number }>('create', load);
    const cpu = (await server.cpuSeconds()) - cpuBefore[0];
    const postgresCpu = (await stage.postgresCpuSeconds(server.database)) - cpuBefore[1];
    acknowledged += count;
    const stored = await rowsOf(server.database, table);
    if (stored !== acknowledged) throw new Error(`${acknowledged} creates were acknowledged, ${stored} are stored`);
    return {
      figure: count / seconds,
      'µs of CPU a create': (cpu / count) * 1e6,
      'µs of CPU of PostgreSQL a create': (postgresCpu / count) * 1e6,
    };
  };
  await side();
  return side;
}

function rowsOf({ superuserUrl }: TestDatabase, table: string): Promise<number> {
  return connected(superuserUrl, async (db) => {
    const { rows } = await db.query<{ count: string }>(`SELECT count(*) FROM ${table}`);
    return Number(rows[0]?.count);
  });
}
