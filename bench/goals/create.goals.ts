import { connected } from '../../test/support/fold.js';
import type { TestDatabase } from '../../test/support/postgres.js';
import type { Goal, Side } from '../goal.js';
import type { Stage } from '../stage.js';

/** Creates a second, all of which have to be in PostgreSQL afterwards. */
async function creating(
  stage: Stage,
  server: { readonly url: string; readonly database: TestDatabase; cpuSeconds(): Promise<number> },
): Promise<Side> {
  const client = stage.child('http-process.ts');
  let acknowledged = 0;
  const side = async () => {
    const cpuBefore = await server.cpuSeconds();
    const load = { url: server.url, connections: stage.sizes.writers, seconds: stage.sizes.seconds };
    const { count, seconds } = await client.call<{ count: number; seconds: number }>('create', load);
    const cpu = (await server.cpuSeconds()) - cpuBefore;
    acknowledged += count;
    const stored = await storedTasks(server.database);
    if (stored !== acknowledged) throw new Error(`${acknowledged} creates were acknowledged, ${stored} are stored`);
    return { figure: count / seconds, 'µs of CPU a create': (cpu / count) * 1e6 };
  };
  await side();
  return side;
}

function storedTasks({ superuserUrl }: TestDatabase): Promise<number> {
  return connected(superuserUrl, async (db) => {
    const { rows } = await db.query<{ count: string }>('SELECT count(*) FROM taskbridge.proj_tasks');
    return Number(rows[0]?.count);
  });
}

async function rawCreates(stage: Stage): Promise<Side> {
  const database = await stage.database();
  const child = stage.child('yardsticks/raw-create.ts');
  const url = await child.call<string>('start', database.appUrl);
  return creating(stage, { url, database, cpuSeconds: () => child.cpuSeconds() });
}

export const CREATE: readonly Goal[] = [
  {
    name: 'G10',
    title: 'create a task, 64 clients',
    against: 'raw http and pg, the same row',
    unit: 'creates/s',
    judged: 'ratio',
    gate: { atLeast: 0.5 },
    stretch: { atLeast: 0.75 },
    ours: async (stage) => creating(stage, await stage.service()),
    yardstick: rawCreates,
  },
];
