import { connected } from '../test/support/fold.js';
import { Client, uniqueId } from '../test/support/client.js';
import { eventually } from '../test/support/service.js';
import { callControl } from './control.js';
import type { Served } from './stage.js';

const AT_A_TIME = 50;

/** Creates tasks that nothing runs, with empty logs. Returns their ids. */
export function waitingTasks({ url }: Served, count: number): Promise<string[]> {
  return created([url], count, () => ({ taskType: 'bench.wait' }));
}

/** Creates tasks that run in the service and append on commands of its control socket. Their logs have one event. */
export async function runningTasks(served: Served, count: number): Promise<string[]> {
  const taskIds = await created([served.url], count, (index) => ({ taskType: 'bench.append', input: { index } }));
  await eventually('the tasks run', async () => (await callControl(served, 'running')) === count, 60_000);
  return taskIds;
}

/** Creates tasks that put out tokens on command, on the replicas in turn. */
export async function streamingTasks(replicas: readonly Served[], count: number): Promise<string[]> {
  const urls = replicas.map(({ url }) => url);
  const taskIds = await created(urls, count, (index) => ({ taskType: 'bench.stream', input: { index } }));
  const running = async () => {
    const each = await Promise.all(replicas.map((replica) => callControl<number>(replica, 'streams')));
    return each.reduce((sum, one) => sum + one, 0);
  };
  await eventually('the streams run', async () => (await running()) === count, 60_000);
  return taskIds;
}

async function created(
  urls: readonly string[],
  count: number,
  bodyOf: (index: number) => { taskType: string; input?: { index: number } },
): Promise<string[]> {
  const clients = urls.map((url) => new Client(url));
  const taskIds: string[] = [];
  const indexes = Array.from({ length: count }, (_, index) => index);
  const create = async () => {
    for (let index = indexes.shift(); index !== undefined; index = indexes.shift()) {
      const client = clients[index % clients.length] as Client;
      const { status, body, text } = await client.create({ clientRequestId: uniqueId(), ...bodyOf(index) });
      if (status !== 201) throw new Error(`no task: ${status} ${text}`);
      taskIds[index] = body.taskId;
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, create));
  return taskIds;
}

/** PostgreSQL's and Redis's connections of the service. */
export async function connections({ database, redis }: Served): Promise<{ postgres: number; redis: number }> {
  const postgres = await connected(database.superuserUrl, async (db) => {
    const { rows } = await db.query<{ count: string }>(
      `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'taskbridge'`,
    );
    return Number(rows[0]?.count);
  });
  const clients = String(await redis.cli('CLIENT', 'LIST'))
    .trim()
    .split('\n');
  return { postgres, redis: clients.filter((client) => !client.includes('cmd=client')).length };
}
