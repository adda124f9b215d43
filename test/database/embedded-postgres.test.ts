import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { awaitDeparture } from '../../src/database/embedded/embedded-cluster.js';
import {
  type EmbeddedPostgres,
  EmbeddedPostgresError,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from '../../src/database/embedded/embedded-postgres.js';
import { eventually } from '../support/service.js';

const repository = fileURLToPath(new URL('../../', import.meta.url));
const isRoot = process.getuid?.() === 0;

describe('The embedded PostgreSQL', () => {
  let base: string;
  let directory: string;
  let usedBase: string;
  const started: EmbeddedPostgres[] = [];
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    usedBase = await mkdtemp(join(tmpdir(), 'embedded-used-'));
    await chmod(usedBase, 0o711);
    await (await startEmbeddedPostgres({ directory: join(usedBase, 'postgres'), durable: false })).stop();
  });

  afterAll(() => rm(usedBase, { recursive: true, force: true }));

  /** A first start takes ten times as long as a later one: for tests that are not about it. */
  const onTheUsedDirectory = () =>
    beforeEach(() => {
      directory = join(usedBase, 'postgres');
    });

  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), 'embedded-'));
    await chmod(base, 0o711);
    directory = join(base, 'data', 'postgres');
  });

  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    for (const postgres of started.splice(0)) await postgres.stop();
    const left = join(directory, 'cluster', 'postmaster.pid');
    await eventually('no PostgreSQL is left', async () => !(await exists(left)) || !isAlive(await pidIn(left)));
    await rm(base, { recursive: true, force: true });
  });

  const start = async (options: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> => {
    const postgres = await startEmbeddedPostgres({ directory, durable: false, ...options });
    started.push(postgres);
    return postgres;
  };

  /** Its own process, which starts it on `directory` and prints the result as a JSON line. */
  const startElsewhere = (): { child: ChildProcess; outcome: Promise<Outcome> } => {
    const child = spawn(process.execPath, ['--import', './test/support/typescript-hooks.js', '--eval', SERVICE], {
      cwd: repository,
      env: { ...process.env, DIRECTORY: directory },
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    children.push(child);
    const outcome = once(child.stdout!, 'data').then(([line]) => JSON.parse(String(line)) as Outcome);
    return { child, outcome };
  };

  const refusal = async (options: Partial<EmbeddedPostgresOptions> = {}): Promise<string> => {
    const error = await start(options).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(EmbeddedPostgresError);
    const { message } = error as EmbeddedPostgresError;
    expect(message).not.toContain('\n');
    return message;
  };

  it('keeps what was written when it is stopped and started again', async () => {
    const first = await start({ durable: true });
    await query(first.ownerUrl, 'CREATE TABLE note AS SELECT 7 AS number');
    await first.stop();

    const second = await start({ durable: true });
    expect(await query(second.ownerUrl, 'SELECT number FROM note')).toEqual([{ number: 7 }]);
  });

  it('works in a directory whose path is too long for a socket and full of special characters', async () => {
    directory = join(base, `it's a, "dir" %20é+&?#`, 'x'.repeat(120), 'postgres');
    const { ownerUrl } = await start();
    expect(await query(ownerUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('begins anew after an initdb that was killed midway', async () => {
    const { child, outcome } = startElsewhere();
    outcome.catch(() => {});
    const isUnfinished = (name: string) => name.startsWith('cluster.new-');
    const entries = () => readdir(directory).catch(() => []);
    await eventually('initdb is at work', async () => {
      const name = (await entries()).find(isUnfinished);
      return name !== undefined && (await exists(join(directory, name, 'PG_VERSION')));
    });
    child.kill('SIGKILL');
    const { ownerUrl } = await start();
    expect(await query(ownerUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect((await entries()).filter(isUnfinished)).toEqual([]);
  });

  describe('on a directory that was used before', () => {
    onTheUsedDirectory();

    it('gives the owner its database and roles to create, but not the cluster', async () => {
      const { ownerUrl } = await start();
      await query(ownerUrl, 'CREATE ROLE taskbridge_app LOGIN; REVOKE TEMPORARY ON DATABASE taskbridge FROM PUBLIC');
      expect(
        await query(
          ownerUrl,
          `SELECT current_user AS name, rolsuper, current_setting('fsync') AS fsync,
                  has_database_privilege('taskbridge_app', 'taskbridge', 'TEMP') AS app_temp
           FROM pg_roles WHERE rolname = current_user`,
        ),
      ).toEqual([{ name: 'taskbridge_owner', rolsuper: false, fsync: 'off', app_temp: false }]);
    });

    it('listens on no network address, and on a socket in a directory that is closed to other users', async () => {
      const { appUrl } = await start();
      const socket = new URLSearchParams(appUrl.split('?')[1]).get('host') ?? '';
      expect((await stat(socket)).mode & 0o777).toBe(0o700);
      const [row] = await query(appUrl.replace('taskbridge_app', 'postgres'), 'SHOW listen_addresses');
      expect(row).toEqual({ listen_addresses: '' });
    });

    it('tells when PostgreSQL ends without having been asked to', async () => {
      const postgres = await start();
      const reason = new Promise<string>((resolve) => postgres.onExit(resolve));
      process.kill(postgres.pid, 'SIGINT');
      expect(await reason).toBe('PostgreSQL ended with code 0');
    });

    it('says nothing of an end that was asked for', async () => {
      const postgres = await start();
      const reasons: string[] = [];
      postgres.onExit((reason) => reasons.push(reason));
      await postgres.stop();
      await postgres.stop();
      expect(reasons).toEqual([]);
    });

    it('refuses the second at once and names the first', async () => {
      await start();
      const began = Date.now();
      expect(await refusal()).toBe(
        `another TaskBridge (pid ${process.pid}) already serves DATA_DIR (${usedBase}); ` +
          'stop it or choose another DATA_DIR.',
      );
      expect(Date.now() - began).toBeLessThan(2000);
    });

    it('gives the directory to the next as soon as the first has stopped', async () => {
      const first = await start();
      await first.stop();
      expect((await start()).pid).not.toBe(first.pid);
    });

    it('starts although the pid it left behind belongs to another process by now', async () => {
      // The process belongs to PostgreSQL's user, because PostgreSQL takes a process that it may signal for a postmaster.
      const other = spawn('sleep', ['600'], isRoot ? { uid: 65534, gid: 65534 } : {});
      children.push(other);
      const first = await start();
      const postmasterPid = join(directory, 'cluster', 'postmaster.pid');
      const lines = (await readFile(postmasterPid, 'utf8')).split('\n');
      await first.stop();
      await writeFile(postmasterPid, [other.pid, ...lines.slice(1)].join('\n'));
      if (isRoot) await chmod(postmasterPid, 0o666);
      const { ownerUrl } = await start();
      expect(await query(ownerUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    });
  });

  describe('with two services on one directory', () => {
    it('lets exactly one of two simultaneous first starts win', async () => {
      const outcomes = await Promise.all([startElsewhere().outcome, startElsewhere().outcome]);
      const won = outcomes.flatMap((outcome) => outcome.started ?? []);
      const lost = outcomes.flatMap((outcome) => outcome.refused ?? []);
      expect([won.length, lost.length]).toEqual([1, 1]);
      expect(lost[0]).toMatch(/^another TaskBridge .*already serves DATA_DIR/);
      expect(await query(won[0]!.ownerUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    });
  });

  describe('when its service dies', () => {
    onTheUsedDirectory();

    it('is gone within two seconds of a SIGKILL', async () => {
      const { child, outcome } = startElsewhere();
      const { started: served } = await outcome;
      child.kill('SIGKILL');
      await eventually('PostgreSQL has ended', () => !isAlive(served!.pid), 2000);
    });

    it('starts again while the PostgreSQL of the dead service is still on its way out', async () => {
      const { child, outcome } = startElsewhere();
      const { started: served } = await outcome;
      // A stopped process cannot shut down, so its supervisor waits its full time before it kills it.
      process.kill(served!.pid, 'SIGSTOP');
      child.kill('SIGKILL');
      const postgres = await start();
      expect(await query(postgres.ownerUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    });

    it('is waited for also where it ends in the very moment in which it is looked at', async () => {
      const cluster = join(base, 'cluster');
      await mkdir(cluster);
      for (let i = 0; i < 40; i += 1) {
        const leaving = spawn('/bin/sh', ['-c', `sleep 0.0${10 + (i % 20)}`, cluster], { stdio: 'ignore' });
        children.push(leaving);
        const ended = once(leaving, 'exit');
        await writeFile(join(cluster, 'postmaster.pid'), `${leaving.pid}\n`);
        const looks = Array.from({ length: 40 }, () => awaitDeparture({ path: base, user: undefined }));
        await Promise.all([ended, ...looks]);
      }
    });

    it('is not reached by the Ctrl-C that its service is still draining after', async () => {
      const { child, outcome } = startElsewhere();
      const { started: served } = await outcome;
      process.kill(-child.pid!, 'SIGINT');
      await eventually('the service has seen it', async () => exists(join(directory, 'interrupted')));
      expect(await query(served!.ownerUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    });
  });

  describe('where it cannot run', () => {
    it('refuses a DATA_DIR that is a file', async () => {
      await writeFile(join(base, 'data'), '');
      expect(await refusal()).toMatch(/^DATA_DIR \(.*\/data\) cannot hold .*: a file is in the place of a directory/);
    });

    if (isRoot) {
      it('refuses, as root, a directory that PostgreSQL as another user cannot reach', async () => {
        await mkdir(join(base, 'data'), { mode: 0o700 });
        expect(await refusal()).toMatch(/^DATA_DIR \(.*\/data\) cannot be reached by uid 65534, as whom PostgreSQL/);
        expect((await stat(join(base, 'data'))).mode & 0o777).toBe(0o700);
      });
    } else {
      it('refuses a directory it may not write to', async () => {
        await mkdir(join(base, 'data'), { mode: 0o500 });
        expect(await refusal()).toMatch(/^DATA_DIR \(.*\/data\) cannot hold .*: permission denied at /);
      });
    }

    it('refuses a platform without binaries and points to DATABASE_URL', async () => {
      expect(await refusal({ binariesPackage: '@embedded-postgres/amiga-m68k' })).toMatch(
        /not installed for this platform \(no package @embedded-postgres\/amiga-m68k\).*DATABASE_URL/,
      );
    });

    it('refuses the data of another major version and leaves them alone', async () => {
      await mkdir(join(directory, 'cluster'), { recursive: true });
      await chmod(join(base, 'data'), 0o755);
      await writeFile(join(directory, 'cluster', 'PG_VERSION'), '15\n');
      expect(await refusal()).toMatch(/^DATA_DIR \(.*\) holds the data of PostgreSQL 15, this build brings \d+/);
      expect(await readdir(join(directory, 'cluster'))).toEqual(['PG_VERSION']);
    });

    it('refuses a directory with files that are no cluster', async () => {
      await mkdir(join(directory, 'cluster'), { recursive: true });
      await writeFile(join(directory, 'cluster', 'thesis.txt'), 'years of work');
      expect(await refusal()).toMatch(/it holds files that are no PostgreSQL cluster/);
      expect(await readdir(join(directory, 'cluster'))).toEqual(['thesis.txt']);
    });

    it('gives the reason from the log when PostgreSQL does not start', async () => {
      const first = await start();
      await first.stop();
      await rm(join(directory, 'cluster', 'global', 'pg_control'));
      expect(await refusal()).toMatch(/^PostgreSQL did not start in DATA_DIR .*: .*pg_control.* See .*postgres\.log\./);
    });
  });
});

interface Outcome {
  readonly started?: { readonly pid: number; readonly ownerUrl: string };
  readonly refused?: string;
}

const SERVICE = `
  const { writeFileSync } = await import('node:fs');
  const { startEmbeddedPostgres } = await import('./src/database/embedded/embedded-postgres.ts');
  const directory = process.env.DIRECTORY;
  process.on('SIGINT', () => writeFileSync(directory + '/interrupted', ''));
  try {
    const { pid, ownerUrl } = await startEmbeddedPostgres({ directory, durable: false });
    console.log(JSON.stringify({ started: { pid, ownerUrl } }));
    setInterval(() => {}, 1000);
  } catch (error) {
    console.log(JSON.stringify({ refused: error.message }));
  }
`;

async function query(connectionString: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    return (await client.query(sql)).rows as unknown[];
  } finally {
    await client.end();
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function pidIn(path: string): Promise<number> {
  return Number.parseInt(await readFile(path, 'utf8').catch(() => ''), 10);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
