import { readdir, readFile } from 'node:fs/promises';
import { connected } from '../test/support/fold.js';
import type { TestRedis } from '../test/support/redis.js';

// Figures of Linux about a process. Other systems have no CPU and memory to report.

/** The CPU of all threads, user and system. */
export async function cpuSeconds(pid: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`);
  const spent = await Promise.all(
    // An ended thread takes its share with it. The measured threads stay.
    threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').catch(() => '0')),
  );
  return spent.reduce((sum, line) => sum + Number(line.split(' ')[0]), 0) / 1e9;
}

export async function rssKiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
}

/** The CPU of a process and its children. It includes children that have ended. */
export async function familyCpuSeconds(pid: number): Promise<number> {
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).split(' ').filter(Boolean);
  const living = await Promise.all(
    // A child that ends meanwhile is counted below, or with the next reading.
    [pid, ...children.map(Number)].map((one) => cpuSeconds(one).catch(() => 0)),
  );
  // man 5 proc_pid_stat: cutime and cstime, in hundredths of a second, counted from the end of the command's name.
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ').at(-1)?.split(' ') ?? [];
  const ended = (Number(fields[13]) + Number(fields[14])) / 100;
  return living.reduce((sum, seconds) => sum + seconds, ended);
}

/** The CPU of a Redis, as it counts it. */
export async function redisCpuSeconds({ cli }: Pick<TestRedis, 'cli'>): Promise<number> {
  const info = String(await cli('INFO', 'cpu'));
  return [...info.matchAll(/^used_cpu_(?:sys|user):([\d.]+)/gm)].reduce((sum, [, seconds]) => sum + Number(seconds), 0);
}

/** The parent of all processes of the server that this superuser reaches. */
export function postmasterPid(superuserUrl: string): Promise<number> {
  return connected(superuserUrl, async (db) => {
    const sql = `SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int AS pid`;
    const { rows } = await db.query<{ pid: number }>(sql);
    return rows[0]?.pid ?? 0;
  });
}
