import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { migrate } from '../../src/database/migrations/apply-migrations.js';
import { Client, expectError, newPrincipal, uniqueId } from '../support/client.js';
import { debianProgram } from '../support/debian.js';
import { startTestCluster, type TestCluster } from '../support/postgres.js';
import { eventually, startService } from '../support/service.js';

const PG_DUMP = {
  name: 'postgresql-client-15',
  variable: 'TEST_PG_DUMP',
  packages: ['postgresql-client-15'],
  path: 'usr/lib/postgresql/15/bin/pg_dump',
};

const [, section = ''] = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8').split(
  '\n## Backup and restore\n',
);
const [backup = '', restore = ''] = [...section.matchAll(/```sh\n(.*?)```/gs)].map(([, commands = '']) => commands);

describe('A backup as docs/operations.md makes it', () => {
  let cluster: TestCluster;
  let directory: string;
  let shell: (commands: string) => Promise<unknown>;

  beforeAll(async () => {
    cluster = await startTestCluster({ debians: true });
    directory = await mkdtemp(join(tmpdir(), 'taskbridge-backup-'));
    const { binary, libraries } = await debianProgram(PG_DUMP);
    const env = {
      PATH: dirname(binary) + delimiter + (process.env['PATH'] ?? ''),
      ...(libraries !== undefined && { LD_LIBRARY_PATH: libraries }),
      MIGRATION_DATABASE_URL: cluster.ownerUrl('live'),
      RESTORED_DATABASE_URL: cluster.ownerUrl('restored'),
    };
    shell = (commands) => promisify(execFile)('sh', ['-ec', commands], { cwd: directory, env });
    await cluster.createDatabase('live');
    await migrate(cluster.ownerUrl('live'));
    await cluster.createDatabase('restored');
  }, 120_000);
  afterAll(async () => {
    await cluster.stop();
    await rm(directory, { recursive: true, force: true });
  });

  const epochOf = async (database: string) => {
    const client = new pg.Client({ connectionString: cluster.appUrl(database) });
    await client.connect();
    const { rows } = await client.query<{ epoch: string }>('SELECT taskbridge.epoch()').finally(() => client.end());
    return rows[0]?.epoch;
  };

  it('has the tasks, their events and their answers, and is another epoch: cursors of a feed have expired', async () => {
    const live = await startService({ DATABASE_URL: cluster.appUrl('live') });
    const client = newPrincipal(live.url);
    const body = { clientRequestId: uniqueId(), taskType: 'demo.echo', input: { n: 1 }, metadata: { order: '7' } };
    const { taskId } = (await client.create(body)).body;
    await eventually('the task is over', async () => (await client.snapshot(taskId)).body.status === 'COMPLETED');
    const { body: ended } = await client.snapshot(taskId);
    const changes = '/api/v1/tasks/changes?waitTimeoutMs=0';
    const { next } = (await client.request<{ next: string }>('GET', changes)).body;
    const after = `${changes}&after=${encodeURIComponent(next)}`;
    expect((await client.request('GET', after)).status).toBe(200);
    await live.stop();

    await shell(backup);
    const [bring = '', then = ''] = restore.split('\n');
    expect(then).toContain('npm run migrate');
    await shell(bring);
    await migrate(cluster.ownerUrl('restored'));
    expect(await epochOf('restored')).not.toBe(await epochOf('live'));

    const restored = await startService({ DATABASE_URL: cluster.appUrl('restored') });
    try {
      const later = new Client(restored.url, client.principal);
      expect((await later.snapshot(taskId)).body).toEqual(ended);
      expect((await later.create(body)).body).toMatchObject({ taskId });
      expectError(await later.request('GET', after), 410, 'CURSOR_EXPIRED');
    } finally {
      await restored.stop();
    }
  }, 120_000);
});
