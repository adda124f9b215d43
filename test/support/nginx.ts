import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from '@jest/globals';
import { debianProgram } from './debian.js';
import { freePort } from './free-port.js';
import { eventually } from './service.js';

const deployed = fileURLToPath(new URL('../../deploy/nginx/', import.meta.url));
const NGINX = { name: 'nginx', variable: 'TEST_NGINX', packages: ['nginx'], path: 'usr/sbin/nginx' };

/** A real nginx with the configuration of deploy/nginx; ended after the file. */
export interface TestNginx {
  readonly url: string;
  readonly port: number;
  /** What it has written about requests and errors so far. */
  log(): string;
}

export interface NginxOptions {
  /** The address of the service. */
  readonly upstream: string;
  readonly secret: string;
  /** Passwords by name. */
  readonly users: Readonly<Record<string, string>>;
  /** Scopes by name, for users without the default ones. */
  readonly scopes?: Readonly<Record<string, string>>;
  /** TASKBRIDGE_SCHEME. Unset unless given, as in the image. */
  readonly scheme?: string;
  /** Replaces a directive's value, so that a test waits less. */
  readonly times?: Readonly<Record<string, string>>;
}

const running = new Map<ChildProcess, string>();

export async function startNginx(options: NginxOptions): Promise<TestNginx> {
  const { upstream, secret, users, scopes = {}, scheme, times = {} } = options;
  const { binary, libraries } = await debianProgram(NGINX);
  const directory = await mkdtemp(join(tmpdir(), 'taskbridge-nginx-'));
  const port = await freePort();
  await cp(join(deployed, 'taskbridge'), join(directory, 'taskbridge'), { recursive: true });
  await mkdir(join(directory, 'conf.d'));
  const template = await readFile(join(deployed, 'templates/default.conf.template'), 'utf8');
  const values: Record<string, string> = {
    TASKBRIDGE_LISTEN: `127.0.0.1:${port}`,
    TASKBRIDGE_UPSTREAM: new URL(upstream).host,
    AUTH_PROXY_SECRET: secret,
    ...(scheme !== undefined && { TASKBRIDGE_SCHEME: scheme }),
  };
  // Names outside of the environment stay, as envsubst leaves them in the image.
  let filled = template
    .replace(/\$\{(\w+)\}/g, (all, name: string) => values[name] ?? all)
    .replaceAll('/var/log/nginx', directory);
  for (const [directive, time] of Object.entries(times)) {
    const shorter = filled.replace(new RegExp(`(^\\s*${directive}) \\w+;`, 'm'), `$1 ${time};`);
    if (shorter === filled) throw new Error(`${directive} is not in the template`);
    filled = shorter;
  }
  await writeFile(join(directory, 'conf.d/default.conf'), filled);
  await writeFile(
    join(directory, 'taskbridge/users'),
    lines(users, (name, password) => `${name}:{PLAIN}${password}`),
  );
  const granted = lines(scopes, (name, list) => `${name} "${list}";`);
  await writeFile(join(directory, 'taskbridge/principals.conf'), granted, { flag: 'a' });
  await writeFile(join(directory, 'nginx.conf'), mainOf(directory));

  const child = spawn(binary, ['-e', 'stderr', '-p', directory, '-c', join(directory, 'nginx.conf')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: libraries === undefined ? {} : { LD_LIBRARY_PATH: libraries },
  });
  running.set(child, directory);
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  child.on('error', (error) => (output += error.message));
  const url = `http://127.0.0.1:${port}`;
  const outcome = await eventually('nginx answers', async () => {
    if (child.exitCode !== null || child.pid === undefined) return 'ended';
    return (await fetch(`${url}/`)).status > 0 && 'answers';
  });
  if (outcome === 'ended') throw new Error(`${binary} does not start:\n${output}`);
  const written = ['access.log', 'error.log'].map((name) => join(directory, name));
  return { url, port, log: () => output + written.map((file) => readFileSync(file, 'utf8')).join('') };
}

/** The parts of the image's nginx.conf that matter, without paths outside of the directory. */
function mainOf(directory: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
    ${process.getuid?.() === 0 ? 'user root root;' : ''}
    daemon off;
    worker_processes 1;
    pid ${directory}/nginx.pid;
    error_log stderr warn;
    events { worker_connections 1024; }
    http {
      access_log ${directory}/access.log;
      ${temporary.map((name) => `${name}_temp_path ${directory}/${name};`).join('\n      ')}
      include conf.d/*.conf;
    }
  `;
}

function lines(entries: Readonly<Record<string, string>>, line: (name: string, value: string) => string): string {
  return Object.entries(entries)
    .map(([name, value]) => `${line(name, value)}\n`)
    .join('');
}

afterAll(async () => {
  for (const [child, directory] of running) {
    if (child.exitCode === null && child.pid !== undefined) {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    }
    await rm(directory, { recursive: true, force: true });
  }
  running.clear();
});
