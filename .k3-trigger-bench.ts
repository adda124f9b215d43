import { readFileSync } from 'node:fs';
import pg from 'pg';
import { randomUUID } from 'node:crypto';
import { startTestCluster } from './test/support/postgres.js';
import { migrate } from './src/database/migrate.js';
import { appendBatch } from './src/tasks/store/append-batch.js';
import { progressEvent, outputEvent } from './src/tasks/domain/event-payloads.js';
import { connectionOptions } from './src/database/connection.js';

const cluster = await startTestCluster({ durable: true });
const TRIGGER: Record<string, string> = {
  none: 'DROP TRIGGER IF EXISTS next_id ON taskbridge.events',
  statement: `CREATE OR REPLACE FUNCTION taskbridge.next_id_s() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
      IF EXISTS (SELECT FROM added a LEFT JOIN taskbridge.proj_tasks t ON t.task_id = a.task_id WHERE a.event_id > t.head_event_id OR t.task_id IS NULL OR a.principal_id = '') THEN
        RAISE EXCEPTION 'no such id' USING ERRCODE = '23514'; END IF;
      RETURN NULL; END $$;
    CREATE TRIGGER next_id AFTER INSERT ON taskbridge.events REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION taskbridge.next_id_s()`,
  row: `CREATE OR REPLACE FUNCTION taskbridge.next_id_r() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
      IF NEW.principal_id = '' OR (NEW.event_id > 1 AND NOT EXISTS (SELECT FROM taskbridge.events e WHERE e.task_id = NEW.task_id AND e.event_id = NEW.event_id - 1)) THEN
        RAISE EXCEPTION 'no such id' USING ERRCODE = '23514'; END IF;
      RETURN NEW; END $$;
    CREATE TRIGGER next_id BEFORE INSERT ON taskbridge.events FOR EACH ROW EXECUTE FUNCTION taskbridge.next_id_r()`,
  rowNoPath: `CREATE OR REPLACE FUNCTION taskbridge.next_id_n() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.principal_id = '' OR (NEW.event_id > 1 AND NOT EXISTS (SELECT FROM taskbridge.events e WHERE e.task_id = NEW.task_id AND e.event_id = NEW.event_id - 1)) THEN
        RAISE EXCEPTION 'no such id' USING ERRCODE = '23514'; END IF;
      RETURN NEW; END $$;
    CREATE TRIGGER next_id BEFORE INSERT ON taskbridge.events FOR EACH ROW EXECUTE FUNCTION taskbridge.next_id_n()`,
};
await cluster.createDatabase('t');
await migrate(cluster.ownerUrl('t'));
const owner = new pg.Client({ connectionString: cluster.ownerUrl('t') });
await owner.connect();
const TICK = 0.01;
const cpuOf = (pid: number) => { const f = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' '); return (Number(f[11]) + Number(f[12])) * TICK; };
async function make(n: number) {
  const ids = Array.from({ length: n }, () => randomUUID());
  await owner.query(`INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, status, attempt, lease_number, lease_token, lease_expires_at, worker_id, correlation_id)
    SELECT id, '', 'o', id::text, '', 't', 'RUNNING', 1, 1, 'tok', now() + interval '1 day', 'w', gen_random_uuid() FROM unnest($1::uuid[]) id`, [ids]);
  return ids;
}
async function side(kind: string, tasks: number, events: number, rounds: number) {
  await owner.query('DROP TRIGGER IF EXISTS next_id ON taskbridge.events');
  if (kind !== 'none') await owner.query(TRIGGER[kind]!);
  const client = new pg.Client(connectionOptions(cluster.appUrl('t')));
  await client.connect();
  const pid = (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid as number;
  const db = { query: async ({ name, text }: any, values: any) => (await client.query({ name, text, values: [...values] })).rows } as any;
  const ids = await make(tasks);
  const seq = new Map(ids.map((id) => [id, 0]));
  const batch = () => ids.map((taskId) => { const s = seq.get(taskId)! + 1; seq.set(taskId, s); return { taskId, leaseToken: 'tok', batchSeq: s, events: Array.from({ length: events }, (_, i) => i % 2 ? outputEvent('text', 'append', 'hello world', 1) : progressEvent(i)) }; });
  const run = async () => { for (const o of await appendBatch(db, batch(), { leaseSeconds: 3600, maxEventsPerTask: 1e9 })) if (o.outcome !== 'stored') throw new Error(o.outcome); };
  for (let i = 0; i < 20; i++) await run();
  const c0 = cpuOf(pid); const t0 = performance.now();
  for (let i = 0; i < rounds; i++) await run();
  const out = { cpu: (cpuOf(pid) - c0) / rounds, ms: (performance.now() - t0) / rounds };
  await client.end();
  return out;
}
const median = (a: number[]) => a.toSorted((x, y) => x - y)[Math.floor(a.length / 2)]!;
for (const [tasks, events, rounds] of [[1, 1, 3000], [100, 2, 150], [1, 50, 1000]] as const) {
  const ratios: Record<string, { cpu: number[]; ms: number[] }> = {};
  for (let pair = 0; pair < 5; pair++) {
    const kinds = ['statement', 'row'];
    for (const kind of kinds) {
      const order = pair % 2 ? [kind, 'none'] : ['none', kind];
      const res: Record<string, { cpu: number; ms: number }> = {};
      for (const k of order) res[k] = await side(k, tasks, events, rounds);
      const r = (ratios[kind] ??= { cpu: [], ms: [] });
      r.cpu.push(res[kind]!.cpu / res['none']!.cpu); r.ms.push(res[kind]!.ms / res['none']!.ms);
    }
  }
  for (const [kind, r] of Object.entries(ratios)) console.log(`${tasks} tasks x ${events} events: ${kind}: cpu ratio median ${median(r.cpu).toFixed(3)} [${r.cpu.map((x) => x.toFixed(2))}], time ratio median ${median(r.ms).toFixed(3)}`);
}
await owner.end();
await cluster.stop();
