import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { debianProgram } from './debian.js';
import { freePort } from './free-port.js';
import { eventually } from './service.js';

const PGBOUNCER = {
  name: 'pgbouncer',
  variable: 'TEST_PGBOUNCER',
  packages: ['pgbouncer'],
  path: 'usr/sbin/pgbouncer',
};

export interface PgBouncerOptions {
  /** The port of PostgreSQL on 127.0.0.1. */
  readonly postgres: number;
  /** Users that may log in without a password. */
  readonly role: string;
  readonly mode: 'transaction' | 'session';
  /** The parameters that it ignores at the start of a session. */
  readonly ignored: readonly string[];
}

/** A real PgBouncer in front of a PostgreSQL: answers its port to `work`, and ends after it. */
export async function withPgBouncer<T>(
  { postgres, role, mode, ignored }: PgBouncerOptions,
  work: (port: number) => Promise<T>,
): Promise<T> {
  const { binary, libraries } = await debianProgram(PGBOUNCER);
  const directory = await mkdtemp(join(tmpdir(), 'taskbridge-pgbouncer-'));
  await chmod(directory, 0o755);
  const port = await freePort();
  await writeFile(join(directory, 'users'), `"${role}" ""\n`);
  const lines = [
    ...['[databases]', `* = host=127.0.0.1 port=${postgres}`, '[pgbouncer]', `listen_addr = 127.0.0.1`],
    ...[`listen_port = ${port}`, 'unix_socket_dir =', 'auth_type = trust', `auth_file = ${join(directory, 'users')}`],
    ...[`pool_mode = ${mode}`, `ignore_startup_parameters = ${ignored.join(',')}`, ''],
  ];
  await writeFile(join(directory, 'pgbouncer.ini'), lines.join('\n'));
  const asNobody = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const child = spawn(binary, [...asNobody, join(directory, 'pgbouncer.ini')], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: libraries === undefined ? {} : { LD_LIBRARY_PATH: libraries },
  });
  let output = '';
  child.stderr.on('data', (chunk) => (output += chunk));
  child.on('error', (error) => (output += error.message));
  const exited = once(child, 'exit');
  try {
    await eventually('PgBouncer listens', async () => {
      if (child.exitCode !== null || child.pid === undefined) throw new Error(output);
      const socket = connect(port, '127.0.0.1');
      return once(socket, 'connect')
        .then(
          () => socket.destroy(),
          () => false,
        )
        .then((answer) => answer !== false);
    });
    return await work(port);
  } finally {
    if (child.exitCode === null && child.pid !== undefined) {
      child.kill('SIGKILL');
      await exited;
    }
    await rm(directory, { recursive: true, force: true });
  }
}
